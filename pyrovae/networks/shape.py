"""Networks: deterministic maps between event shapes. They know shapes only, nothing of probability.

Every network here maps `(*, *in_shape)` to `(*, *out_shape)` for any number of leading dimensions, such as
`(S, B)`: samples vectorise, and a thousand of them cost one call.
"""

from collections.abc import Sequence

from torch import Tensor

from pyrovae.errors import ShapeError

__all__ = ["Shape", "as_shape", "leading"]


Shape = int | Sequence[int]


def as_shape(shape: Shape) -> tuple[int, ...]:
    """`20 -> (20,)`, `(1, 28, 28) -> (1, 28, 28)`."""
    return (shape,) if isinstance(shape, int) else tuple(shape)


def leading(x: Tensor, event: tuple[int, ...], owner: str) -> tuple[int, ...]:
    """The leading dimensions of `x`, whose last ones must be `event`."""
    split = x.dim() - len(event)
    if split < 0 or tuple(x.shape[split:]) != event:
        raise ShapeError(
            f"{owner} wants a tensor of shape (*, {', '.join(map(str, event))}), got {tuple(x.shape)}. "
            f"Build it with the shape of the data, x.shape[1:], or reshape the data."
        )
    return tuple(x.shape[:split])
