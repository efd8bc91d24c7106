"""Pictures of how good something is: detection of anomalies, calibration, numbers as colours."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_equally_many, check_numbers
from pyrovae.errors import ShapeError
from pyrovae.plots.figure import PALETTE, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["detection", "heat", "ranks"]


def detection(scores: Mapping[str, Any], anomalous: Any, *, title: str = "") -> "Figure":
    """The ROC curve and the precision-recall curve of each score. A score at random would follow the dashed lines.

    Args:
        scores: by name, `(N,)`, higher for more anomalous data points.
        anomalous: which data points are anomalous, bool `(N,)`.
        title: what to write above them.

    Raises:
        ShapeError: scores that are not `(N,)`, or data points that are all anomalous, or all normal.
    """
    truth = torch.as_tensor(anomalous).cpu()
    share = truth.double().mean().item()
    if truth.dim() != 1 or not 0 < share < 1:
        raise ShapeError(
            f"detection requires (N,) data points, some of them anomalous, got {tuple(truth.shape)}: {share:.0%}."
        )
    figure = new_figure(9.4, 4.4)
    left, right = figure.subplots(1, 2)
    for i, (name, values) in enumerate(scores.items()):
        hits, alarms = _caught(torch.as_tensor(values).double().cpu(), truth, name)
        style: dict[str, Any] = {"color": PALETTE[i % len(PALETTE)], "linestyle": "-" if i < 10 else ":"}
        left.plot(alarms / (~truth).sum(), hits / truth.sum(), label=name, linewidth=1.3, **style)
        right.plot(hits[1:] / truth.sum(), hits[1:] / (hits + alarms)[1:], linewidth=1.3, **style)
    left.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=0.8)
    right.axhline(share, color="0.6", linestyle="--", linewidth=0.8)
    _share_axes(left, "false alarms, share of the normal", "found, share of the anomalous", "ROC")
    _share_axes(right, "recall, share of the anomalous", "precision, share of the alarms", "precision and recall")
    figure.suptitle(title, x=0.02, ha="left", fontsize=10)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _share_axes(axes: "Axes", x: str, y: str, title: str) -> None:
    """Both axes are shares, from 0 to 1."""
    plain(axes)
    axes.set(xlabel=x, ylabel=y, title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def _caught(values: Tensor, truth: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """How many anomalous and how many normal data points score above each threshold, from no alarm to all."""
    if values.shape != truth.shape:
        raise ShapeError(
            f"detection requires one score per data point, got {tuple(values.shape)} scores {name!r} for "
            f"{tuple(truth.shape)} data points."
        )
    order = values.argsort(descending=True)
    last = torch.cat([values[order].diff() != 0, torch.ones(1, dtype=torch.bool)])  # the last of equal scores
    counts = [torch.cat([torch.zeros(1), part[order].cumsum(0)[last]]) for part in (truth, ~truth)]
    return counts[0], counts[1]


def heat(
    values: Tensor, *, rows: Sequence[str], columns: Sequence[str], unit: str = "nats", title: str = ""
) -> "Figure":
    """A table of numbers as colours, blue below 0 and red above.

    Args:
        values: `(R, C)`.
        rows: the names of the R rows.
        columns: the names of the C columns.
        unit: what to write at the scale of colours.
        title: what to write above it.

    Raises:
        ShapeError: values that are not `(R, C)`, or names of another number.
    """
    values = check_numbers("values", values)
    values = values.float() if values.dtype == torch.bool else values
    if values.dim() != 2 or not values.numel():
        raise ShapeError(f"heat requires values (R, C), got {tuple(values.shape)}.")
    check_equally_many("rows", rows, len(values), "rows of values")
    check_equally_many("columns", columns, values.shape[1], "columns of values")
    figure = new_figure(1.8 + 0.24 * len(columns), 2.4 + 0.24 * len(rows))
    axes = figure.subplots()
    bound = values.abs().max().item() or 1.0
    shown = axes.imshow(values.numpy(), cmap="RdBu_r", vmin=-bound, vmax=bound, aspect="auto")
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_xticks(range(len(columns)), columns, fontsize=8, rotation=90)
    axes.set_title(title, loc="left", fontsize=10)
    figure.colorbar(shown, ax=axes, label=unit, pad=0.01)
    return figure


def ranks(
    ranks: Tensor, num_samples: int, *, dims: Sequence[int] | None = None, latent: str = "z", num_bins: int = 20
) -> "Figure":
    """Simulation-based calibration, as `inference.calibration` gives it: a histogram of ranks for each dimension.

    For a calibrated guide 99 % of the bars end inside the grey band. A valley means that the guide is too narrow, a
    hill that it is too wide, a slope that it is shifted.

    Args:
        ranks: the ranks of simulated latents, `(N, D)`, in {0 ... num_samples}.
        num_samples: the number of draws among which they rank.
        dims: which dimensions to show; the first twelve by default.
        latent: the name of the latent site.
        num_bins: the largest number of bars; the number used divides `num_samples` + 1.

    Raises:
        ShapeError: the ranks are not `(N, D)`.
    """
    ranks, num_bins = check_numbers("ranks", ranks), check_count("num_bins", num_bins)
    num_samples = check_count("num_samples", num_samples)
    if ranks.dim() != 2 or not ranks.numel():
        raise ShapeError(f"A picture of ranks requires (N, D), got {tuple(ranks.shape)}. Write calibration.ranks['z'].")
    ranks = ranks.long()
    if ranks.min() < 0 or ranks.max() > num_samples:
        raise ShapeError(f"ranks among {num_samples} draws are from 0 to {num_samples}, got {int(ranks.max())}.")
    dims = range(min(12, ranks.shape[1])) if dims is None else dims
    levels = num_samples + 1
    num_bins = max(b for b in range(1, min(num_bins, levels) + 1) if levels % b == 0)
    columns = min(4, len(dims))
    rows = math.ceil(len(dims) / columns)
    figure = new_figure(2.2 * columns + 0.8, 1.7 * rows + 0.9)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axes, d in zip(panels, dims, strict=False):
        _histogram(axes, ranks[:, d].cpu(), levels, num_bins)
        axes.set_title(f"{latent}[{d}]", loc="left", fontsize=9)
    for axes in panels[len(dims) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(dims) - columns) : len(dims)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel(f"rank among {num_samples} draws of the guide", fontsize=9)
    figure.supylabel(f"count among {len(ranks)} simulations", fontsize=9)
    figure.suptitle("calibration: flat in the grey band (99 %)", x=0.02, ha="left", fontsize=10)
    return figure


def _histogram(axes: "Axes", ranks: Tensor, levels: int, num_bins: int) -> None:
    """Ranks `(N,)` in bars, over the band that holds 99 % of the bars of evenly spread ranks."""
    expected = len(ranks) / num_bins
    margin = 2.58 * math.sqrt(expected * (1 - 1 / num_bins))
    axes.axhspan(max(0.0, expected - margin), expected + margin, color="0.88", zorder=0)
    axes.axhline(expected, color="0.6", linewidth=0.8, zorder=1)
    counts = (ranks * num_bins // levels).bincount(minlength=num_bins).numpy()
    edges = [i * levels / num_bins for i in range(num_bins + 1)]
    axes.stairs(counts, edges, fill=True, color=PALETTE[0], zorder=2, alpha=0.8)
    axes.spines[["top", "right"]].set_visible(False)
