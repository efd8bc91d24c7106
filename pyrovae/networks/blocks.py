"""Residual blocks, which map a state h to the next state.

A block maps `(*, *in_shape)` to `(*, *out_shape)` for any number of leading dimensions, such as `(S, B)`. It may take
a second input z: the latent that is drawn at a level of a ladder.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyrovae.checks import check_count
from pyrovae.errors import ShapeError
from pyrovae.networks.shape import as_image_shape, as_shape
from pyrovae.recorded import Recorded

__all__ = ["ConvBlock", "ConvHead", "DenseBlock"]


class DenseBlock(Recorded, nn.Module):
    """h' = shortcut(h) + W2 [act(W1 [act(h), z]), z], from `(*, in_shape)` to `(*, out_shape)`.

    The shortcut is h itself where the widths are equal, and a linear map otherwise.

    Args:
        in_shape: width of the state h.
        out_shape: width of the next state.
        hidden: width of the inner layer.
        side: width of z; 0 for a block without a second input.
        activation: the nonlinearity, a module class.
    """

    def __init__(
        self, in_shape: int, out_shape: int, hidden: int, side: int = 0, activation: Callable[[], nn.Module] = nn.ReLU
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape = as_shape(in_shape), as_shape(out_shape)
        hidden, side = check_count("hidden", hidden), check_count("side", side, 0)
        self.shortcut = nn.Identity() if in_shape == out_shape else nn.Linear(in_shape, out_shape)
        self.activation = activation()
        self.inner, self.outer = nn.Linear(in_shape + side, hidden), nn.Linear(hidden + side, out_shape)
        _keep_scale(self)

    def forward(self, h: Tensor, z: Tensor | None = None) -> Tensor:
        side_input = [] if z is None else [z]
        inner = self.inner(torch.cat([self.activation(h), *side_input], -1))
        return self.shortcut(h) + self.outer(torch.cat([self.activation(inner), *side_input], -1))


class ConvBlock(Recorded, nn.Module):
    """h' = shortcut(h) + W2 * [act(W1 * [act(h), z]), z], two 3x3 convolutions: `(*, C, H, W) -> (*, C', H', W')`.

    The shortcut is h, by a 1x1 convolution where C' differs from C. A smaller image comes from average pooling and a
    stride of 2, a larger one from repeated pixels.

    Args:
        in_shape: `(C, H, W)` of the state h.
        out_shape: `(C', H', W')` of the next state. Its size equals that of h, is half of it (rounded up), or has that
            of h as its half (rounded up).
        hidden: channels of the inner layer.
        side: channels of z, whose size is that of h; 0 for a block without a second input.
        activation: the nonlinearity, a module class.

    Raises:
        ShapeError: neither size equals the other or is half of it.
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
        self.in_shape, self.out_shape = as_image_shape(in_shape, "ConvBlock"), as_image_shape(out_shape, "ConvBlock")
        hidden, side = check_count("hidden", hidden), check_count("side", side, 0)
        (wide, *size), (narrow, *new) = self.in_shape, self.out_shape
        self.halves = new != size and new == [(n + 1) // 2 for n in size]
        if not (self.halves or new == size or size == [(n + 1) // 2 for n in new]):
            raise ShapeError(
                "ConvBlock requires a size that stays, halves or doubles, got "
                f"{self.in_shape} to {self.out_shape}. Chain several blocks."
            )
        self.shortcut = nn.Identity() if wide == narrow else nn.Conv2d(wide, narrow, 1)
        self.activation = activation()
        self.inner = nn.Conv2d(wide + side, hidden, 3, stride=2 if self.halves else 1, padding=1)
        self.outer = nn.Conv2d(hidden + side, narrow, 3, padding=1)
        _keep_scale(self)

    def forward(self, h: Tensor, z: Tensor | None = None) -> Tensor:
        lead = h.shape[:-3]
        h = h.reshape(-1, *self.in_shape)
        side_input = [] if z is None else [z.reshape(-1, *z.shape[-3:])]
        inner = self.activation(self.inner(torch.cat([self.activation(h), *side_input], 1)))
        inner = self.outer(self._grown(torch.cat([inner, *map(self._shrunk, side_input)], 1)))
        return (self._grown(self.shortcut(self._shrunk(h))) + inner).reshape(*lead, *self.out_shape)

    def _shrunk(self, h: Tensor) -> Tensor:
        return functional.avg_pool2d(h, 2, ceil_mode=True) if self.halves else h

    def _grown(self, h: Tensor) -> Tensor:
        size = self.out_shape[1:]
        return h if tuple(h.shape[2:]) == size else functional.interpolate(h, size)

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Set the last bias so that training starts near the mean of each channel of `output`, of shape `out_shape`."""
        cast(Tensor, self.outer.bias).copy_(output.mean((-2, -1)))


class ConvHead(Recorded, nn.Module):
    """W * act(h), a 1x1 convolution from a state to the parameters of a latent: `(*, C, H, W) -> (*, C', H, W)`.

    It costs a tenth of a residual block, so it suits a ladder of many levels whose states come from blocks. Its weights
    start at a third of a block's scale, which keeps the first normals near N(0, 1).

    Args:
        in_shape: `(C, H, W)` of the state h.
        out_channels: C', such as twice the channels of a latent, for a mean and a scale.
        activation: the nonlinearity, a module class.
    """

    def __init__(
        self, in_shape: Sequence[int], out_channels: int, activation: Callable[[], nn.Module] = nn.ReLU
    ) -> None:
        super().__init__()
        self.in_shape = as_image_shape(in_shape, "ConvHead")
        self.activation = activation()
        self.outer = nn.Conv2d(self.in_shape[0], check_count("out_channels", out_channels), 1)
        _keep_scale(self, 1 / 3)

    def forward(self, h: Tensor) -> Tensor:
        lead = h.shape[:-3]
        out = self.outer(self.activation(h.reshape(-1, *self.in_shape)))
        return out.reshape(*lead, *out.shape[1:])


@torch.no_grad()
def _keep_scale(block: nn.Module, scale: float = 1.0) -> None:
    """Draw weights of variance scale^2 / fan-in; 1 keeps the scale of a signal along many blocks (LeCun et al. 1998).

    torch's default variance is a third of that. The signal would fade, and x would hardly depend on a latent far up a
    ladder.
    """
    for part in block.children():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="linear").mul_(scale)
