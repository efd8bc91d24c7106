"""Dense networks with batch normalisation, of one or several inputs."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pyrovae.checks import check_counts, check_fraction
from pyrovae.networks.joint import JointMLP
from pyrovae.networks.shape import Shape, as_shape
from pyrovae.recorded import Recorded

__all__ = ["NormedMLP"]


class NormedMLP(Recorded, nn.Module):
    """A dense network of one or several inputs: layers h' = dropout(relu(norm(W h + b))), and a linear one.

    norm is batch normalisation: in training, the mean and variance of each unit over all rows, those of several draws
    included; in evaluation mode, their running averages. So the loss of a batch is not the sum of those of its parts.

    Args:
        in_shapes: event shape of each input, as for `JointMLP`: the number of classes for labels.
        out_shape: event shape of the output.
        hidden: widths of the hidden layers, one at least.
        dropout: the probability with which a hidden unit is set to 0 in training.
        momentum: the weight of the newest batch in the running averages.

    Raises:
        SettingError: `hidden`, `dropout` or `momentum` has no meaning.
        ShapeError: in a call, as for `JointMLP`.

    References: Ioffe & Szegedy (2015), arXiv:1502.03167; Lopez et al. (2018), whose networks these are.
    """

    def __init__(
        self,
        in_shapes: Sequence[Shape],
        out_shape: Shape,
        hidden: Sequence[int] = (128,),
        dropout: float = 0.1,
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        hidden, self.out_shape = check_counts("hidden", hidden), as_shape(out_shape)
        dropout = check_fraction("dropout", dropout, one=False, write=0.1)
        momentum = check_fraction("momentum", momentum, write=0.01)
        self.inputs = JointMLP(in_shapes, hidden[0], hidden=())
        layers: list[nn.Module] = []
        for number, width in enumerate(hidden):
            layers += [nn.Linear(hidden[number - 1], width)] if number else []
            layers += [nn.BatchNorm1d(width, eps=1e-3, momentum=momentum), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        self.head = JointMLP([hidden[-1]], self.out_shape, hidden=())

    def forward(self, *inputs: Tensor) -> Tensor:
        h = self.inputs(*inputs)
        return self.head(self.layers(h.reshape(-1, h.shape[-1])).reshape(*h.shape[:-1], -1))

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Set the last bias to `output`, of shape `out_shape`, and make the last weights a tenth as large.

        So training starts near the output.
        """
        self.head.start_at(output)
        cast(nn.Linear, self.head.mlp.layers[0]).weight.mul_(0.1)
