"""Canvases with several objects: images, such as digits, scattered over a larger one."""

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_seed
from pyrovae.data.batch import Batch
from pyrovae.errors import DataError, ShapeError

__all__ = ["canvases"]

ROWS = 4096
"""How many canvases are drawn at once."""

TRIES = 1000
"""How often canvases are drawn again before objects are found not to fit."""


def canvases(images: Tensor, size: int, *, side: int = 50, most: int = 2, seed: int = 0) -> Batch:
    """Draw canvases with 0 to `most` objects, all numbers equally often: `x` uint8 `(size, C, side, side)`.

    The objects of a canvas are images drawn at random, at places drawn uniformly inside the canvas. A canvas on which
    two objects share a pixel above 0 is drawn again. `count`, int64 `(size,)`, is their number.

    Args:
        images: uint8 `(N, C, h, w)`, 0 where there is no ink.
        size: the number of canvases.
        side: height and width of a canvas, in pixels.
        most: the largest number of objects.
        seed: the seed of all draws.

    Raises:
        SettingError: `size` or `side` is no count, `most` is negative, or `seed` is no seed.
        ShapeError: the images are not uint8 `(N, C, h, w)`, or larger than a canvas.
        DataError: so many objects find no place on a canvas.

    References: Eslami et al. (2016), arXiv:1603.08575, section 4.1, for the setting.
    """
    size, side, most = check_count("size", size), check_count("side", side), check_count("most", most, 0)
    if images.dim() != 4 or images.dtype != torch.uint8 or max(images.shape[-2:]) > side or not len(images):
        raise ShapeError(
            f"canvases requires uint8 images (N, C, h, w) of at most {side} x {side} pixels, got {images.dtype} "
            f"{tuple(images.shape)}. Write canvases(load('digits').train['x'], size)."
        )
    draw = torch.Generator().manual_seed(check_seed("seed", seed))
    count = torch.randint(most + 1, (size,), generator=draw)
    x = torch.zeros(size, images.shape[1], side, side, dtype=torch.uint8)
    for rows in torch.arange(size).split(ROWS):
        _fill(x, count, rows, images, draw)
    return {"x": x, "count": count}


def _fill(x: Tensor, count: Tensor, rows: Tensor, images: Tensor, draw: torch.Generator) -> None:
    """Draw those rows of the canvases `x` until no two objects of one touch."""
    for _ in range(TRIES):
        x[rows], clear = _scattered(count[rows], images, x.shape[-1], draw)
        rows = rows[~clear]
        if not len(rows):
            return
    raise DataError(
        f"canvases requires room for the objects, got up to {int(count.max())} of {tuple(images.shape[-2:])} pixels on "
        f"{x.shape[-1]} x {x.shape[-1]} that still share pixels after {TRIES} draws. Write a larger side, or a smaller "
        "most."
    )


def _scattered(count: Tensor, images: Tensor, side: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Canvases with so many objects each, and whether no two of them share a pixel."""
    channels, height, width = images.shape[1:]
    x = torch.zeros(len(count), channels, side, side, dtype=torch.uint8)
    clear = torch.ones(len(count), dtype=torch.bool)
    for number in range(int(count.max())):
        shown = images[torch.randint(len(images), (len(count),), generator=draw)]
        shown = shown * (number < count).to(torch.uint8)[:, None, None, None]
        top = torch.randint(side - height + 1, (len(count),), generator=draw)
        left = torch.randint(side - width + 1, (len(count),), generator=draw)
        at = torch.arange(len(count))[:, None, None], (top[:, None] + torch.arange(height))[:, :, None]
        place = (at[0], slice(None), at[1], (left[:, None] + torch.arange(width))[:, None])  # (B, h, w, C)
        before, shown = x[place], shown.movedim(1, -1)
        clear &= ~((before > 0) & (shown > 0)).flatten(1).any(1)
        x[place] = torch.maximum(before, shown)
    return x, clear
