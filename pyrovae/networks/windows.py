"""Windows of a canvas: an image placed into one, and a glimpse cut out of one."""

import torch
from torch import Tensor

from pyrovae.networks.shape import as_image_shape

__all__ = ["box", "glimpse", "place"]


def place(image: Tensor, where: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A canvas that is 0 but for one window, which holds an image: `(*, C, h, w) -> (*, C, H, W)`.

    A window (log s, x, y) has s times the height and the width of the canvas, and its centre is at (x, y); the canvas
    is [-1, 1] x [-1, 1], x to the right and y downwards. The canvas interpolates the image bilinearly, which is
    separable: it is A_y image A_x', with matrices A of hat functions. The same numbers come from `affine_grid` and
    `grid_sample` of torch, with zeros outside and `align_corners=False`; here any number of leading dimensions
    broadcast.

    Args:
        image: `(*, C, h, w)`.
        where: (log s, x, y), `(*, 3)`.
        shape: the shape of the canvas, of which H and W are used: `(C, H, W)`.

    Raises:
        ShapeError: `shape` has not three sizes.

    References: Jaderberg et al. (2015), arXiv:1506.02025.
    """
    _, high, wide = as_image_shape(shape, "place")
    scale, x, y = where.exp()[..., :1], where[..., 1:2], where[..., 2:]
    down = _hats((_centres(high, where) - y) / scale, image.shape[-2])
    right = _hats((_centres(wide, where) - x) / scale, image.shape[-1])
    return down.unsqueeze(-3) @ image @ right.unsqueeze(-3).mT


def glimpse(canvas: Tensor, where: Tensor, shape: tuple[int, ...]) -> Tensor:
    """What a window of a canvas holds, `(*, C, H, W) -> (*, C, h, w)`: the inverse of `place` inside the canvas.

    Args:
        canvas: `(*, C, H, W)`; outside it is 0.
        where: (log s, x, y), `(*, 3)`, as in `place`.
        shape: the shape of the glimpse, of which h and w are used: `(C, h, w)`.

    Raises:
        ShapeError: `shape` has not three sizes.
    """
    _, high, wide = as_image_shape(shape, "glimpse")
    scale, x, y = where.exp()[..., :1], where[..., 1:2], where[..., 2:]
    down = _hats(y + scale * _centres(high, where), canvas.shape[-2])
    right = _hats(x + scale * _centres(wide, where), canvas.shape[-1])
    return down.unsqueeze(-3) @ canvas @ right.unsqueeze(-3).mT


def _centres(pixels: int, like: Tensor) -> Tensor:
    """The centres of the pixels of [-1, 1], `(pixels,)`."""
    return (2 * torch.arange(pixels, dtype=like.dtype, device=like.device) + 1) / pixels - 1


def _hats(points: Tensor, pixels: int) -> Tensor:
    """The weight of each pixel of [-1, 1] in the bilinear interpolation at points `(*, n)`: `(*, n, pixels)`."""
    steps = (points.unsqueeze(-1) - _centres(pixels, points)) * (pixels / 2)
    return (1 - steps.abs()).clamp_min(0)


def box(where: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Left, top, width and height of a window in pixels, `(*, 3) -> (*, 4)`; the canvas is from 0 to W and 0 to H.

    Args:
        where: (log s, x, y), `(*, 3)`, as in `place`.
        shape: the shape of the canvas, `(C, H, W)`.

    Raises:
        ShapeError: `shape` has not three sizes.
    """
    _, high, wide = as_image_shape(shape, "box")
    scale, x, y = where.exp()[..., 0], where[..., 1], where[..., 2]
    corner = [(x + 1 - scale) * wide / 2, (y + 1 - scale) * high / 2]
    return torch.stack([*corner, scale * wide, scale * high], -1)
