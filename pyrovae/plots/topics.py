"""Topics: bars of their words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from pyrovae.checks import check_count, check_equally_many, check_numbers
from pyrovae.errors import ShapeError
from pyrovae.plots.figure import PALETTE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["topic_bars"]

COLUMNS = 5


def topic_bars(
    probs: Tensor,
    words: Sequence[str],
    *,
    num_words: int = 8,
    titles: Sequence[str] | None = None,
    unit: str = "p(word | topic)",
) -> "Figure":
    """A panel for each topic, with a bar for each of its most important words.

    Args:
        probs: the length of each bar, `(K, V)`, such as the probability of each word in each topic.
        words: the V words.
        num_words: the number of words of a topic.
        titles: what to write above each topic; its number by default.
        unit: what the bars show.

    Raises:
        SettingError: `num_words` is no count, or above V.
        ShapeError: `probs` are not `(K, V)`, or names of another number.
    """
    probs = check_numbers("probs", probs).double()
    if probs.dim() != 2 or not probs.numel():
        raise ShapeError(f"topic_bars requires probs (K, V), got {tuple(probs.shape)}.")
    check_equally_many("words", words, probs.shape[1], "columns of probs")
    titles = [f"topic {k}" for k in range(len(probs))] if titles is None else titles
    check_equally_many("titles", titles, len(probs), "rows of probs")
    top = probs.topk(check_count("num_words", num_words, most=probs.shape[1]), -1)
    columns = min(COLUMNS, len(probs))
    down = -(-len(probs) // columns)
    figure = new_figure(2.3 * columns, (0.5 + 0.17 * num_words) * down + 0.3)
    panels = figure.subplots(down, columns, squeeze=False).flatten()
    for k, axes in enumerate(panels):
        if k >= len(probs):
            axes.set_axis_off()
            continue
        axes.barh(range(num_words), top.values[k].numpy(), color=PALETTE[0], height=0.75)
        axes.set_yticks(range(num_words), [words[i] for i in top.indices[k].tolist()], fontsize=7)
        axes.invert_yaxis()
        axes.set_title(titles[k], loc="left", fontsize=8)
        axes.tick_params(axis="x", labelsize=6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(unit, fontsize=8)
    return figure
