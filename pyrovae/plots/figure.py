"""What all figures share: the colours, the layout, the axes, and how they are written to a file."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pyrovae.imports import imported
from pyrovae.output import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PALETTE", "colours", "new_figure", "plain", "save"]

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800", "#000000", "#882255", "#8A8A8A")
"""Okabe & Ito's colours, then Tol's wine, then grey: every reader can tell ten classes apart."""


def colours(count: int) -> list[str]:
    """As many colours, no two alike: the palette, and beyond its ten hues a golden angle apart.

    Args:
        count: how many.
    """
    from matplotlib.colors import hsv_to_rgb, to_hex

    hues = [(0.381966 * i % 1, 0.75, 0.55 if i % 2 else 0.95) for i in range(len(PALETTE), count)]
    return [*PALETTE[:count], *(to_hex(tuple(hsv_to_rgb(hue))) for hue in hues)]


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure. It belongs to no window and nothing has to close it; a notebook shows it where it is returned.

    Args:
        width: inches.
        height: inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    imported("matplotlib.figure", "pyrovae.plots requires", "matplotlib")
    from pyrovae.plots.picture import Picture

    return Picture(figsize=(width, height), layout="constrained")


def plain(axes: "Axes", title: str = "") -> None:
    """Axes of a chart: a small title, a grid, and no frame above and at the right.

    Args:
        axes: the axes to change.
        title: what to write above them.
    """
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def save(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, at a resolution that reads well on a screen.

    Args:
        figure: the figure.
        path: the file; its folder is made where it is missing.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    figure.draw_without_rendering()  # axes of a fixed aspect are in their place after the second layout
    write_atomically(Path(path), lambda file: figure.savefig(file, dpi=130, format="png"))
