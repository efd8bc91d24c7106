"""Event shapes, and the leading dimensions of a tensor before its event shape."""

from collections.abc import Iterable, Sequence

from torch import Tensor

from pyrovae.checks import check_count, check_counts
from pyrovae.errors import ShapeError

__all__ = ["LARGEST", "Shape", "as_image_shape", "as_shape", "leading"]


Shape = int | Sequence[int]
"""An event shape: a width, such as `784`, or the sizes of all dimensions, such as `(1, 28, 28)`."""


LARGEST = 2**31
"""The largest size of a dimension."""


def as_shape(shape: Shape) -> tuple[int, ...]:
    """An event shape as a tuple: `20 -> (20,)`, `[1, 28, 28] -> (1, 28, 28)`.

    Args:
        shape: a width or a sequence of sizes.

    Raises:
        SettingError: it is no whole number, and no sequence of them, of at least 1.
    """
    one = isinstance(shape, int) or not isinstance(shape, Iterable)
    sizes = (shape,) if one else check_counts("a shape", shape)
    return tuple(check_count("a shape", size, most=LARGEST) for size in sizes)


def as_image_shape(shape: Sequence[int], owner: str) -> tuple[int, ...]:
    """The shape of an image, `(C, H, W)`.

    Args:
        shape: three sizes.
        owner: what requires it, for the error.

    Raises:
        SettingError: the sizes are no whole numbers of at least 1.
        ShapeError: there are not three of them.
    """
    sizes = as_shape(shape)
    if len(sizes) != 3:
        raise ShapeError(f"{owner} requires the shape of an image, (C, H, W), got {sizes}. Write x.shape[1:].")
    return sizes


def leading(x: Tensor, event: tuple[int, ...], owner: str) -> tuple[int, ...]:
    """The sizes of the dimensions of `x` before its event shape: `(*,)` for `x` of shape `(*, *event)`.

    Args:
        x: the input of a network.
        event: the event shape that the network requires.
        owner: the network's name, for the error.

    Raises:
        ShapeError: the last dimensions of `x` are not `event`.
    """
    split = x.dim() - len(event)
    if split < 0 or tuple(x.shape[split:]) != event:
        raise ShapeError(
            f"{owner} requires a tensor of shape (*, {', '.join(map(str, event))}), got {tuple(x.shape)}. "
            "Build it with the shape of the data, x.shape[1:], or reshape the data."
        )
    return tuple(x.shape[:split])
