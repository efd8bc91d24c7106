"""Networks: deterministic maps between event shapes. They know shapes only, nothing of probability.

Every network here maps `(*, *in_shape)` to `(*, *out_shape)` for any number of leading dimensions, such as
`(S, B)`: samples vectorise, and a thousand of them cost one call.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from pyrovae.errors import ShapeError

__all__ = ["MLP", "ConvDecoder", "ConvEncoder", "GatedMLP", "Shape", "SkipMLP", "bounded_scale"]

Shape = int | Sequence[int]


def as_shape(shape: Shape) -> tuple[int, ...]:
    """`20 -> (20,)`, `(1, 28, 28) -> (1, 28, 28)`."""
    return (shape,) if isinstance(shape, int) else tuple(shape)


def bounded_scale(raw: Tensor, bound: float = 7.0) -> Tensor:
    """A scale in (e^-7, e^7), about exp(raw) near 0, with a gradient up to |raw| = 50: exp(7 tanh(raw / 7))."""
    return torch.exp(bound * torch.tanh(raw / bound))


def wide(x: Tensor) -> Tensor:
    """In float64, but on Apple's GPUs, which have none."""
    return x if x.device.type == "mps" else x.double()


def leading(x: Tensor, event: tuple[int, ...], owner: str) -> tuple[int, ...]:
    """The leading dimensions of `x`, whose last ones must be `event`."""
    split = x.dim() - len(event)
    if split < 0 or tuple(x.shape[split:]) != event:
        raise ShapeError(
            f"{owner} wants a tensor of shape (*, {', '.join(map(str, event))}), got {tuple(x.shape)}. "
            f"Build it with the shape of the data, x.shape[1:], or reshape the data."
        )
    return tuple(x.shape[:split])


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


def halvings(size: int, times: int) -> list[int]:
    """Sizes along `times` convolutions of stride 2: 28 -> [28, 14, 7, 4]."""
    sizes = [size]
    for _ in range(times):
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


class ConvEncoder(nn.Module):
    """Strided 3x3 convolutions, each halving the image, then one linear layer: `(*, C, H, W) -> (*, *out_shape)`.

    Args:
        in_shape: `(C, H, W)`, any size.
        out_shape: event shape of the output.
        channels: one convolution of stride 2 for each entry.
        activation: the nonlinearity, a module class.

    Raises:
        ShapeError: the last dimensions of the input are not `in_shape`.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Shape,
        channels: Sequence[int] = (8, 16, 32),
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape = as_shape(in_shape), as_shape(out_shape)
        first, height, width = self.in_shape
        layers: list[nn.Module] = []
        for wide, narrow in pairwise([first, *channels]):
            layers += [nn.Conv2d(wide, narrow, 3, stride=2, padding=1), activation()]
        self.convolutions = nn.Sequential(*layers)
        flat = channels[-1] * halvings(height, len(channels))[-1] * halvings(width, len(channels))[-1]
        self.head = nn.Linear(flat, math.prod(self.out_shape))

    def forward(self, x: Tensor) -> Tensor:
        lead = leading(x, self.in_shape, "ConvEncoder")
        features = self.convolutions(x.reshape(-1, *self.in_shape)).flatten(1)
        return self.head(features).reshape(*lead, *self.out_shape)


class ConvDecoder(nn.Module):
    """One linear layer, then transposed 3x3 convolutions, each doubling the image: `(*, *in_shape) -> (*, C, H, W)`.

    Args:
        in_shape: event shape of the input, the latent dimension.
        out_shape: `(C, H, W)` of the likelihood's parameters.
        channels: one doubling for each entry, from the coarse to the fine.
        activation: the nonlinearity, a module class.

    Raises:
        ShapeError: the last dimensions of the input are not `in_shape`.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Sequence[int],
        channels: Sequence[int] = (32, 16, 8),
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape = as_shape(in_shape), as_shape(out_shape)
        last, height, width = self.out_shape
        heights, widths = halvings(height, len(channels))[::-1], halvings(width, len(channels))[::-1]
        self.coarse = (channels[0], heights[0], widths[0])
        self.head = nn.Linear(math.prod(self.in_shape), math.prod(self.coarse))
        layers: list[nn.Module] = []
        for i, (wide, narrow) in enumerate(zip(channels, [*channels[1:], last], strict=True)):
            # A doubling gives 2n - 1 pixels; one more where the encoder halved an even size.
            odd = (heights[i + 1] - 2 * heights[i] + 1, widths[i + 1] - 2 * widths[i] + 1)
            layers += [activation(), nn.ConvTranspose2d(wide, narrow, 3, stride=2, padding=1, output_padding=odd)]
        self.convolutions = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        lead = leading(z, self.in_shape, "ConvDecoder")
        coarse = self.head(z.reshape(-1, math.prod(self.in_shape))).unflatten(-1, self.coarse)
        return self.convolutions(coarse).reshape(*lead, *self.out_shape)

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Set the last bias, one per channel, so that training starts near `output`, of shape `out_shape`."""
        bias = cast(nn.ConvTranspose2d, self.convolutions[-1]).bias
        cast(Tensor, bias).copy_(output.mean((-2, -1)))
