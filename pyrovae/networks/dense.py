"""Dense networks: plain, gated, and with a linear skip connection."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from pyrovae.checks import check_counts
from pyrovae.networks.shape import Shape, as_shape, leading
from pyrovae.recorded import Recorded

__all__ = ["MLP", "GatedMLP", "SkipMLP"]


class _Dense(Recorded, nn.Module):
    """Hidden layers, then a linear layer. `MLP` and `GatedMLP` choose the hidden layers and add nothing else."""

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        hidden: Sequence[int],
        activation: Callable[[], nn.Module],
        per_unit: int,
    ) -> None:
        """A linear layer emits `per_unit` numbers for each hidden unit, from which `activation` makes one."""
        super().__init__()
        self.in_shape, self.out_shape = as_shape(in_shape), as_shape(out_shape)
        widths = [math.prod(self.in_shape), *check_counts("hidden", hidden, fewest=0)]
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(widths):
            layers += [nn.Linear(wide, per_unit * narrow), activation()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], math.prod(self.out_shape)))

    def forward(self, x: Tensor) -> Tensor:
        lead = leading(x, self.in_shape, type(self).__name__)
        return self.layers(x.reshape(*lead, math.prod(self.in_shape))).reshape(*lead, *self.out_shape)

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Set the last bias to `output`, of shape `out_shape`, so that training starts near it."""
        cast(nn.Linear, self.layers[-1]).bias.copy_(output.flatten())


class MLP(_Dense):
    """A dense network `(*, *in_shape) -> (*, *out_shape)`: layers h' = activation(W h + b), and a linear one.

    Args:
        in_shape: event shape of the input, `784` or `(1, 28, 28)`.
        out_shape: event shape of the output, for example `2 * 20` for the guide of a 20-dimensional normal.
        hidden: widths of the hidden layers.
        activation: the nonlinearity between layers, a module class.

    Raises:
        ShapeError: in a call, the last dimensions of the input are not `in_shape`.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        hidden: Sequence[int] = (400,),
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__(in_shape, out_shape, hidden, activation, per_unit=1)


class GatedMLP(_Dense):
    """A dense network of gated layers, h' = (W h + b) * sigmoid(V h + c), and a linear one.

    Args:
        in_shape: event shape of the input, `784` or `(1, 28, 28)`.
        out_shape: event shape of the output.
        hidden: widths of the hidden layers.

    Raises:
        ShapeError: in a call, the last dimensions of the input are not `in_shape`.

    References: Dauphin et al. (2017), arXiv:1612.08083; Tomczak & Welling (2018), arXiv:1705.07120, for VAEs.
    """

    def __init__(self, in_shape: Shape, out_shape: Shape, hidden: Sequence[int] = (300, 300)) -> None:
        super().__init__(in_shape, out_shape, hidden, nn.GLU, per_unit=2)


class SkipMLP(Recorded, nn.Module):
    """The sum of a linear map and a dense network, A x + f(x), which starts nearly linear: f starts small.

    With little data, a decoder of this kind first learns the linear part, as factor analysis does, and then learns to
    bend it where that raises the likelihood.

    Args:
        in_shape: event shape of the input.
        out_shape: event shape of the output.
        hidden: widths of the hidden layers of f.
        activation: the nonlinearity between the layers of f, a module class.

    Raises:
        ShapeError: in a call, the last dimensions of the input are not `in_shape`.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        hidden: Sequence[int] = (400,),
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.mlp = MLP(in_shape, out_shape, hidden, activation)
        self.in_shape, self.out_shape = self.mlp.in_shape, self.mlp.out_shape
        self.skip = nn.Linear(math.prod(self.in_shape), math.prod(self.out_shape), bias=False)
        with torch.no_grad():
            cast(nn.Linear, self.mlp.layers[-1]).weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        lead = leading(x, self.in_shape, "SkipMLP")
        return self.mlp(x) + self.skip(x.flatten(len(lead))).reshape(*lead, *self.out_shape)

    def start_at(self, output: Tensor) -> None:
        """Set the last bias to `output`, of shape `out_shape`, so that training starts near it."""
        self.mlp.start_at(output)
