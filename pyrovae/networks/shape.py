"""Event shapes, and the leading dimensions of a tensor before its event shape."""

from collections.abc import Sequence

from torch import Tensor

from pyrovae.errors import ShapeError

__all__ = ["Shape", "as_shape", "leading"]


Shape = int | Sequence[int]
"""An event shape: a width, such as `784`, or the sizes of all dimensions, such as `(1, 28, 28)`."""


def as_shape(shape: Shape) -> tuple[int, ...]:
    """An event shape as a tuple: `20 -> (20,)`, `[1, 28, 28] -> (1, 28, 28)`.

    Args:
        shape: a width or a sequence of sizes.
    """
    return (shape,) if isinstance(shape, int) else tuple(shape)


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
