"""Pictures of piano rolls."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyrovae.errors import ShapeError
from pyrovae.plots.figure import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["piano_rolls"]


def piano_rolls(rows: Mapping[str, Tensor], *, lowest: int = 21) -> "Figure":
    """Piano rolls under each other, time to the right, keys upwards; the grey level is the probability of a key.

    Keys that sound in no row are left out at both ends.

    Args:
        rows: by title, `(T, K)` in [0, 1], all of the same K.
        lowest: the MIDI number of the first key.

    Raises:
        ShapeError: no row, rows without titles, or rows of another shape.
    """
    if not isinstance(rows, Mapping):
        kind = type(rows).__name__
        raise ShapeError(f'Piano rolls require titles, got a {kind}. Write piano_rolls({{"data": x[0]}}).')
    keys = {roll.shape[1] if roll.dim() == 2 and roll.numel() else 0 for roll in rows.values()}
    if len(keys) != 1 or 0 in keys:
        raise ShapeError(f"Piano rolls are (T, K), T > 0, of equal K, got {[tuple(r.shape) for r in rows.values()]}.")
    rolls = {title: roll.detach().float().cpu() for title, roll in rows.items()}
    sounds = (torch.cat([*rolls.values()]) > 0.05).any(0).nonzero().flatten().tolist()
    used = sounds or [0, max(keys) - 1]
    figure = new_figure(9, 0.5 + 1.7 * len(rolls))
    panels = figure.subplots(len(rolls), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, roll) in zip(panels, rolls.items(), strict=True):
        _roll(axes, roll[:, used[0] : used[-1] + 1], lowest + used[0])
        axes.set_title(title, loc="left", fontsize=10)
    panels[-1].set(xlim=(0, max(len(roll) for roll in rolls.values())), xlabel="step")
    return figure


def _roll(axes: "Axes", roll: Tensor, lowest: int) -> None:
    """One roll, with a line at each C."""
    extent = (0, len(roll), lowest - 0.5, lowest + roll.shape[1] - 0.5)
    shown: dict[str, Any] = {"cmap": "Greys", "vmin": 0, "vmax": 1, "origin": "lower", "aspect": "auto"}
    axes.imshow(roll.T.numpy(), extent=extent, interpolation="nearest", **shown)
    octaves = [n for n in range(lowest, lowest + roll.shape[1]) if n % 12 == 0]
    axes.set_yticks(octaves, [f"C{n // 12 - 1}" for n in octaves])
    axes.grid(axis="y", alpha=0.4)
    axes.spines[["top", "right"]].set_visible(False)
