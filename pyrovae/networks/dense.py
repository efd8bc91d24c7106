"""Dense."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from pyrovae.networks.shape import Shape, as_shape, leading

__all__ = ["MLP", "GatedMLP", "SkipMLP"]


class MLP(nn.Module):
    """A dense network `(*, *in_shape) -> (*, *out_shape)`, linear at the end.

    Args:
        in_shape: event shape of the input, `784` or `(1, 28, 28)`.
        out_shape: event shape of the output, for example `2 * 20` for the guide of a 20-dimensional normal.
        hidden: widths of the hidden layers.
        activation: the nonlinearity between layers, a module class.

    Raises:
        ShapeError: the last dimensions of the input are not `in_shape`.
    """

    linear_per_unit = 1  # outputs of a linear layer for each hidden unit

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        hidden: Sequence[int] = (400,),
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape = as_shape(in_shape), as_shape(out_shape)
        widths = [math.prod(self.in_shape), *hidden]
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(widths):
            layers += [nn.Linear(wide, self.linear_per_unit * narrow), activation()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], math.prod(self.out_shape)))

    def forward(self, x: Tensor) -> Tensor:
        lead = leading(x, self.in_shape, type(self).__name__)
        return self.layers(x.reshape(*lead, math.prod(self.in_shape))).reshape(*lead, *self.out_shape)

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Set the last bias, so that training starts near `output`, of shape `out_shape`."""
        cast(nn.Linear, self.layers[-1]).bias.copy_(output.flatten())


class SkipMLP(MLP):
    """A linear map plus a dense network, A x + f(x), which begins nearly linear.

    A decoder of few data learns the linear part first, as factor analysis would, and bends it where it pays.

    Args:
        args, options: those of `MLP`.

    Raises:
        ShapeError: the last dimensions of the input are not `in_shape`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.skip = nn.Linear(math.prod(self.in_shape), math.prod(self.out_shape), bias=False)
        with torch.no_grad():
            cast(nn.Linear, self.layers[-1]).weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        bent = super().forward(x)
        return bent + self.skip(x.flatten(-len(self.in_shape))).reshape(bent.shape)


class GatedMLP(MLP):
    """A dense network of gated layers, h' = (W h + b) * sigmoid(V h + c), linear at the end.

    Args:
        in_shape: event shape of the input, `784` or `(1, 28, 28)`.
        out_shape: event shape of the output.
        hidden: widths of the hidden layers.

    Raises:
        ShapeError: the last dimensions of the input are not `in_shape`.

    References: Dauphin et al. (2017), arXiv:1612.08083; Tomczak & Welling (2018), arXiv:1705.07120, for VAEs.
    """

    linear_per_unit = 2

    def __init__(self, in_shape: Shape, out_shape: Shape, hidden: Sequence[int] = (300, 300)) -> None:
        super().__init__(in_shape, out_shape, hidden, nn.GLU)
