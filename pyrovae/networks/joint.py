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

__all__ = ["JointMLP", "one_hot"]


def one_hot(y: Tensor, classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Labels `(*,)` in {0 .. classes - 1} as indicators `(*, classes)`; a label that is none of them, such as -1, as 0.

    In one fixed shape and without a look at values, which `torch.nn.functional.one_hot` takes on a CPU.
    """
    return (y.unsqueeze(-1) == torch.arange(classes, device=y.device)).to(dtype)


class JointMLP(nn.Module):
    """A dense network of several inputs, f(a, b, ...): the MLP of all of them side by side.

    Its first layer is a sum of linear maps, one per input, so their leading dimensions broadcast: beside `(K, 1)`
    labels, `(B, D)` images go through their part of the layer once, and not K times.

    Args:
        in_shapes: event shape of each input, `(1, 28, 28)` or `20`; for labels (whole numbers of shape `(*,)`) their
            number of classes: they become one-hot.
        out_shape: event shape of the output.
        hidden: widths of the hidden layers.
        activation: the nonlinearity between layers, a module class.

    Raises:
        ShapeError: another number of inputs, or the last dimensions of one are not its shape.
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
            raise ShapeError(f"JointMLP wants {len(self.sizes)} inputs of shapes {self.in_shapes}, got {len(inputs)}.")
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
        """The first layer's weights of each input."""
        return self._first.weight.split(self.sizes, dim=1)

    @torch.no_grad()
    def emphasise(self, number: int, factor: float) -> None:
        """Multiply the first layer's weights of the input of that number: one label is hardly heard beside an image."""
        self._weights()[number].mul_(factor)

    def start_at(self, output: Tensor) -> None:
        """Set the last bias, so that training starts near `output`, of shape `out_shape`."""
        self.mlp.start_at(output)


def _flat(x: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """One input `(*, *shape)` as `(*, n)`; labels `(*,)` as one-hot."""
    if not x.is_floating_point():
        return one_hot(x, math.prod(shape), dtype)
    lead = x.dim() - len(shape)
    if lead < 0 or tuple(x.shape[lead:]) != shape:
        raise ShapeError(
            f"JointMLP wants a tensor of shape (*, {', '.join(map(str, shape))}), or labels of whole numbers, got "
            f"{tuple(x.shape)}. Build it with the shapes of its inputs."
        )
    return x.reshape(*x.shape[:lead], math.prod(shape))
