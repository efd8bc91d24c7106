"""Pictures of images: in rows, beside each other, and in tables with names."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_numbers
from pyrovae.errors import ShapeError
from pyrovae.plots.figure import new_figure
from pyrovae.plots.levels import Levels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["grid", "labelled", "mosaic", "paths", "reconstructions", "show", "table"]

LARGEST = 10_000
"""The most columns of a picture, and the most pixels of a gap."""


def mosaic(images: Tensor, columns: int, gap: int = 2) -> Tensor:
    """Images beside each other on white, as one picture `(rows, columns, C)` with values in [0, 1].

    Args:
        images: `(N, C, H, W)`, from black, 0, to white, 1. Where values lie outside [0, 1], such as counts, the
            smallest is black (0 if none is negative), and the largest is white (1 if none is larger).
        columns: how many images a row has.
        gap: pixels between two images.

    Raises:
        ShapeError: they are not images, or there is none.
    """
    images, columns, gap = (
        _images(images),
        check_count("columns", columns, most=LARGEST),
        check_count("gap", gap, 0, LARGEST),
    )
    count, channels, height, width = images.shape
    rows = math.ceil(count / columns)
    sheet = torch.ones(channels, rows * (height + gap) - gap, columns * (width + gap) - gap)
    for i, image in enumerate(Levels.of(images).shown(images)):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[:, top : top + height, left : left + width] = image
    return sheet.permute(1, 2, 0)


def _images(images: Tensor, name: str = "images") -> Tensor:
    images = check_numbers(name, images)
    if images.dim() != 4 or images.shape[1] not in (1, 3) or images.numel() == 0:
        raise ShapeError(
            f"A picture requires images (N, C, H, W) with N > 0, C = 1 or 3, got {tuple(images.shape)}. Data of other "
            "kinds have no such picture: print or plot their numbers."
        )
    return images


def _table(images: Tensor) -> Tensor:
    images = check_numbers("images", images)
    if images.dim() != 5 or images.shape[2] not in (1, 3) or images.numel() == 0:
        raise ShapeError(
            f"A picture of rows requires images (R, T, C, H, W), none of them 0, C = 1 or 3, got "
            f"{tuple(images.shape)}. Data of other kinds have no such picture: print or plot their numbers."
        )
    return images


def show(axes: "Axes", picture: Tensor, title: str) -> None:
    """Draw a picture, black to white from 0 to 1, without ticks.

    Args:
        axes: where to draw.
        picture: `(H, W, C)`.
        title: what to write above it.
    """
    axes.imshow(picture.squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_axis_off()


def _sheet(images: Tensor, columns: int, title: str) -> "Figure":
    picture = mosaic(images, columns)
    width = min(8.0, max(0.62 * columns + 0.4, 2.8 if title else 0.0))  # a title is wider than one small image
    figure = new_figure(width, width * picture.shape[0] / picture.shape[1] + 0.4)
    show(figure.subplots(), picture, title)
    return figure


def grid(images: Tensor, *, columns: int = 10, title: str = "") -> "Figure":
    """Images in rows, such as draws from the prior.

    Args:
        images: `(N, C, H, W)`, black to white as in `mosaic`.
        columns: how many images a row has.
        title: what to write above them.

    Raises:
        ShapeError: they are not images, or there is none.
    """
    images = _images(images)
    return _sheet(images, min(check_count("columns", columns), len(images)), title)


def reconstructions(originals: Tensor, reconstructed: Tensor, *, columns: int = 10) -> "Figure":
    """Originals over their reconstructions, row by row.

    Args:
        originals: `(N, C, H, W)`; their values say what is black and white, as in `mosaic`.
        reconstructed: `(N, C, H, W)`.
        columns: how many images a row has.

    Raises:
        ShapeError: the two differ in shape, or are not images.
    """
    originals, reconstructed = check_numbers("originals", originals), check_numbers("reconstructed", reconstructed)
    if originals.shape != reconstructed.shape:
        raise ShapeError(
            f"reconstructions requires two tensors of one shape, got originals {tuple(originals.shape)} and "
            f"reconstructions {tuple(reconstructed.shape)}."
        )
    originals = _images(originals, "originals")
    columns = min(check_count("columns", columns), len(originals))
    levels, rows = Levels.of(originals), []
    sets = (levels.shown(images).split(columns) for images in (originals, reconstructed))
    for pair in zip(*sets, strict=True):
        # White images fill up the last row, so that each reconstruction stays under its original.
        rows += [torch.cat([row, row.new_ones(columns - len(row), *row.shape[1:])]) for row in pair]
    return _sheet(torch.cat(rows), columns, "originals over their reconstructions")


def paths(images: Tensor, *, title: str = "between two data points") -> "Figure":
    """Interpolations, one a row.

    Args:
        images: R paths of T images, `(R, T, C, H, W)`, black to white as in `mosaic`.
        title: what to write above them.

    Raises:
        ShapeError: they are not rows of images.
    """
    images = _table(images)
    return _sheet(images.flatten(0, 1), images.shape[1], title)


def labelled(
    images: Tensor, title: str, rows: Sequence[str], columns: Sequence[str], gap: int = 2
) -> "tuple[Figure, Axes]":
    """A table of images with its axes, to which a caller may add: `table` says what it shows.

    Args:
        images: `(R, T, C, H, W)`, black to white as in `mosaic`.
        title: what to write above it.
        rows: the names of the rows.
        columns: the names of the columns.
        gap: pixels between two images.

    Raises:
        ShapeError: they are not rows of images.
    """
    images = _table(images)
    height, width = images.shape[-2:]
    picture = mosaic(images.flatten(0, 1), images.shape[1], gap)
    across = min(8.0, 0.62 * images.shape[1] + 0.4)
    figure = new_figure(across + 1.2, across * picture.shape[0] / picture.shape[1] + 0.8)
    axes = figure.subplots()
    show(axes, picture, title)
    axes.set_axis_on()
    axes.spines[:].set_visible(False)
    axes.xaxis.tick_top()
    axes.set_xticks([i * (width + gap) + (width - 1) / 2 for i in range(len(columns))], columns, fontsize=8)
    axes.set_yticks([i * (height + gap) + (height - 1) / 2 for i in range(len(rows))], rows, fontsize=8)
    axes.tick_params(length=0)
    return figure, axes


def table(images: Tensor, *, title: str = "", rows: Sequence[str] = (), columns: Sequence[str] = ()) -> "Figure":
    """Images in rows, with a name at each row and over each column.

    Args:
        images: `(R, T, C, H, W)`, black to white as in `mosaic`.
        title: what to write above them.
        rows: the names of the rows.
        columns: the names of the columns.

    Raises:
        ShapeError: they are not rows of images.
    """
    return labelled(images, title, rows, columns)[0]
