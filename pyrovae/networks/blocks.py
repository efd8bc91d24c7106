"""Residual blocks: the steps of a deterministic path from state to state. They know shapes only.

A block maps `(*, *in_shape)` to `(*, *out_shape)` for any number of leading dimensions, such as `(S, B)`, and may take
a second input beside the state: the latent that is drawn at a level of a ladder.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyrovae.errors import ShapeError
from pyrovae.networks.shape import as_shape

__all__ = ["ConvBlock", "DenseBlock"]


class DenseBlock(nn.Module):
    """h' = shortcut(h) + W2 [act(W1 [act(h), z]), z], from `(*, in_shape)` to `(*, out_shape)`.

    The shortcut is h itself where the widths are equal.

    Args:
        in_shape: width of the state h.
        out_shape: width of the next state.
        hidden: width inside.
        side: width of z, 0 for a block without.
        activation: the nonlinearity, a module class.
    """

    def __init__(
        self, in_shape: int, out_shape: int, hidden: int, side: int = 0, activation: Callable[[], nn.Module] = nn.ReLU
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape = as_shape(in_shape), as_shape(out_shape)
        self.shortcut = nn.Identity() if in_shape == out_shape else nn.Linear(in_shape, out_shape)
        self.activation = activation()
        self.inner, self.outer = nn.Linear(in_shape + side, hidden), nn.Linear(hidden + side, out_shape)
        _keep_scale(self)

    def forward(self, h: Tensor, z: Tensor | None = None) -> Tensor:
        beside = [] if z is None else [z]
        inner = self.inner(torch.cat([self.activation(h), *beside], -1))
        return self.shortcut(h) + self.outer(torch.cat([self.activation(inner), *beside], -1))


class ConvBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, each of [act(h), z] and h: `(*, C, H, W) -> (*, C', H', W')`.

    Args:
        in_shape: `(C, H, W)` of the state h.
        out_shape: `(C', H', W')` of the next one: as large, half as large (rounded up), or twice (rounded up or down).
        hidden: channels inside.
        side: channels of z, which is as large as h; 0 for a block without.
        activation: the nonlinearity, a module class.

    Raises:
        ShapeError: sizes of which neither is the other, its half or its double.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        hidden: int,
        side: int = 0,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape = as_shape(in_shape), as_shape(out_shape)
        (wide, *size), (narrow, *new) = self.in_shape, self.out_shape
        self.halves = new != size and new == [(n + 1) // 2 for n in size]
        if not (self.halves or new == size or size == [(n + 1) // 2 for n in new]):
            raise ShapeError(
                f"ConvBlock keeps, halves or doubles the size, got {self.in_shape} to {self.out_shape}. Chain several."
            )
        self.shortcut = nn.Identity() if wide == narrow else nn.Conv2d(wide, narrow, 1)
        self.activation = activation()
        self.inner = nn.Conv2d(wide + side, hidden, 3, stride=2 if self.halves else 1, padding=1)
        self.outer = nn.Conv2d(hidden + side, narrow, 3, padding=1)
        _keep_scale(self)

    def forward(self, h: Tensor, z: Tensor | None = None) -> Tensor:
        lead = h.shape[:-3]
        h = h.reshape(-1, *self.in_shape)
        beside = [] if z is None else [z.reshape(-1, *z.shape[-3:])]
        inner = self.activation(self.inner(torch.cat([self.activation(h), *beside], 1)))
        inner = self.outer(self._grown(torch.cat([inner, *map(self._shrunk, beside)], 1)))
        return (self._grown(self.shortcut(self._shrunk(h))) + inner).reshape(*lead, *self.out_shape)

    def _shrunk(self, h: Tensor) -> Tensor:
        return functional.avg_pool2d(h, 2, ceil_mode=True) if self.halves else h

    def _grown(self, h: Tensor) -> Tensor:
        size = self.out_shape[1:]
        return h if tuple(h.shape[2:]) == size else functional.interpolate(h, size)

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Set the last bias, one per channel, so that training starts near `output`, of shape `out_shape`."""
        cast(Tensor, self.outer.bias).copy_(output.mean((-2, -1)))


@torch.no_grad()
def _keep_scale(block: nn.Module) -> None:
    """Weights of variance 1 / fan-in: a signal keeps its size along a path of many blocks (LeCun et al. 1998).

    torch's default, a third of that, lets it fade: a latent far up a ladder would not be heard below.
    """
    for part in block.children():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="linear")
