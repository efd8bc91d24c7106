"""Pictures of images with boxes around what was found on them."""

from typing import TYPE_CHECKING

from torch import Tensor

from pyrovae.checks import check_count, check_numbers
from pyrovae.errors import ShapeError
from pyrovae.plots.figure import PALETTE
from pyrovae.plots.images import reconstructions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["boxes"]

GAP = 2
"""Pixels between two images of `reconstructions`."""

COLOURS = (PALETTE[1], PALETTE[5], PALETTE[2], PALETTE[3])
"""The colours of the first objects of an image, which show on black; further ones repeat them."""


def boxes(originals: Tensor, reconstructed: Tensor, found: Tensor, shown: Tensor, *, columns: int = 8) -> "Figure":
    """Originals with the boxes of the objects that were found, over their reconstructions, row by row.

    Args:
        originals: `(N, C, H, W)`; their values say what is black and white, as in `mosaic`.
        reconstructed: `(N, C, H, W)`.
        found: left, top, width and height of K boxes for each image, in pixels, `(N, K, 4)`.
        shown: which of them are drawn, `(N, K)`, above 0 where they are.
        columns: how many images a row has.

    Raises:
        ShapeError: the tensors do not belong together, or are not images.
    """
    found, shown = check_numbers("found", found), check_numbers("shown", shown)
    if found.dim() != 3 or found.shape[::2] != (len(originals), 4) or shown.shape != found.shape[:2]:
        raise ShapeError(
            f"boxes requires K boxes (N, K, 4) and shown (N, K) for {len(originals)} images, got "
            f"{tuple(found.shape)} and {tuple(shown.shape)}."
        )
    columns = min(check_count("columns", columns), len(originals))
    figure = reconstructions(originals, reconstructed, columns=columns)
    (axes,) = figure.axes
    axes.set_title("what was found on each, over the reconstructions", loc="left", fontsize=10)
    height, width = originals.shape[-2:]
    for number, (places, drawn) in enumerate(zip(found, shown, strict=True)):
        corner = (number % columns) * (width + GAP), 2 * (number // columns) * (height + GAP)
        for step, place in enumerate(places[drawn > 0]):
            _draw(axes, place, corner, COLOURS[step % len(COLOURS)])
    return figure


def _draw(axes: "Axes", place: Tensor, corner: tuple[int, int], colour: str) -> None:
    """One box on the image whose first pixel is at `corner`; the centre of that pixel is at 0."""
    from matplotlib.patches import Rectangle

    left, top, width, height = place.tolist()
    at = corner[0] + left - 0.5, corner[1] + top - 0.5
    axes.add_patch(Rectangle(at, width, height, fill=False, edgecolor=colour, linewidth=1.2))
