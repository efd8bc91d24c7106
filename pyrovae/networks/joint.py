"""Networks of several inputs, such as a code and a label."""

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyrovae.errors import ShapeError
from pyrovae.networks.dense import MLP
from pyrovae.networks.shape import Shape, as_shape
from pyrovae.recorded import Recorded

__all__ = ["JointMLP", "one_hot"]


def one_hot(y: Tensor, classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Labels `(*,)` as indicators `(*, classes)`; a label outside {0, ..., classes - 1}, such as -1, becomes zeros.

    Unlike `torch.nn.functional.one_hot`, it never reads values of `y`, so a step that calls it can be captured.

    Args:
        y: int64 labels.
        classes: the number of classes.
        dtype: that of the result.
    """
    return (y.unsqueeze(-1) == torch.arange(classes, device=y.device)).to(dtype)


class JointMLP(Recorded, nn.Module):
    """A dense network of several inputs, f(a, b, ...): an MLP of their concatenation.

    Its first layer is a sum of linear maps, one per input, so the leading dimensions of the inputs broadcast: with
    labels `(K, 1)` and images `(B, *event)`, each image goes through its linear map once, not K times.

    Args:
        in_shapes: event shape of each input, `(1, 28, 28)` or `20`. For labels, which are integers of shape `(*,)`,
            their number of classes; they become one-hot.
        out_shape: event shape of the output.
        hidden: widths of the hidden layers.
        activation: the nonlinearity between layers, a module class.

    Raises:
        ShapeError: in a call, the number of inputs differs, or the last dimensions of one are not its shape.
    """

    def __init__(
        self,
        in_shapes: Sequence[Shape],
        out_shape: Shape,
        hidden: Sequence[int] = (400,),
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.in_shapes, self.out_shape = tuple(map(as_shape, in_shapes)), as_shape(out_shape)
        self.sizes = [math.prod(shape) for shape in self.in_shapes]
        self.mlp = MLP(sum(self.sizes), self.out_shape, hidden, activation)

    def forward(self, *inputs: Tensor) -> Tensor:
        if len(inputs) != len(self.sizes):
            raise ShapeError(
                f"JointMLP requires {len(self.sizes)} inputs of shapes {self.in_shapes}, got {len(inputs)}. "
                "Pass all of them, in this order."
            )
        parts = zip(inputs, self.in_shapes, self._weights(), strict=True)
        h: Tensor = self._first.bias
        for x, shape, weight in parts:
            h = h + functional.linear(_flat(x, shape, weight.dtype), weight)
        for layer in self.mlp.layers[1:]:
            h = layer(h)
        return h.reshape(*h.shape[:-1], *self.out_shape)

    @property
    def _first(self) -> nn.Linear:
        return cast(nn.Linear, self.mlp.layers[0])

    def _weights(self) -> tuple[Tensor, ...]:
        """The first layer's weights, one matrix per input."""
        return self._first.weight.split(self.sizes, dim=1)

    @torch.no_grad()
    def emphasise(self, number: int, factor: float) -> None:
        """Multiply the first layer's weights of one input, such as a label, which is few numbers next to an image.

        Args:
            number: the position of the input, from 0.
            factor: the multiplier.
        """
        self._weights()[number].mul_(factor)

    def start_at(self, output: Tensor) -> None:
        """Set the last bias to `output`, of shape `out_shape`, so that training starts near it."""
        self.mlp.start_at(output)


def _flat(x: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """One input `(*, *shape)` as `(*, n)`; labels `(*,)` as one-hot."""
    if not x.is_floating_point():
        return one_hot(x, math.prod(shape), dtype)
    lead = x.dim() - len(shape)
    if lead < 0 or tuple(x.shape[lead:]) != shape:
        raise ShapeError(
            f"JointMLP requires a tensor of shape (*, {', '.join(map(str, shape))}), or integer labels, got "
            f"{tuple(x.shape)}. Build it with the shapes of its inputs."
        )
    return x.reshape(*x.shape[:lead], math.prod(shape))
