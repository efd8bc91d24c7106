"""Strided convolutional networks: images to vectors and back, for any size of image."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from pyrovae.checks import check_counts
from pyrovae.networks.shape import Shape, as_image_shape, as_shape, leading
from pyrovae.recorded import Recorded

__all__ = ["ConvDecoder", "ConvEncoder", "halvings", "strided"]


def halvings(size: int, times: int) -> list[int]:
    """The sizes along convolutions of stride 2, rounded up: `halvings(28, 3) -> [28, 14, 7, 4]`.

    Args:
        size: height or width of the image.
        times: the number of convolutions.
    """
    sizes = [size]
    for _ in range(times):
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


def strided(channels: Sequence[int], activation: Callable[[], nn.Module]) -> list[nn.Module]:
    """3x3 convolutions of stride 2, each of which halves the image, with a nonlinearity after each.

    Args:
        channels: those of the input, then those of each output.
        activation: the nonlinearity, a module class.
    """
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(channels):
        layers += [nn.Conv2d(wide, narrow, 3, stride=2, padding=1), activation()]
    return layers


class ConvEncoder(Recorded, nn.Module):
    """Strided 3x3 convolutions, each halving the image, then one linear layer: `(*, C, H, W) -> (*, *out_shape)`.

    Args:
        in_shape: `(C, H, W)`, any size.
        out_shape: event shape of the output.
        channels: output channels of each convolution, all of stride 2.
        activation: the nonlinearity, a module class.

    Raises:
        ShapeError: in a call, the last dimensions of the input are not `in_shape`.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Shape,
        channels: Sequence[int] = (8, 16, 32),
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape = as_image_shape(in_shape, "ConvEncoder"), as_shape(out_shape)
        channels = check_counts("channels", channels)
        first, height, width = self.in_shape
        self.convolutions = nn.Sequential(*strided([first, *channels], activation))
        flat = channels[-1] * halvings(height, len(channels))[-1] * halvings(width, len(channels))[-1]
        self.head = nn.Linear(flat, math.prod(self.out_shape))

    def forward(self, x: Tensor) -> Tensor:
        lead = leading(x, self.in_shape, "ConvEncoder")
        features = self.convolutions(x.reshape(-1, *self.in_shape)).flatten(1)
        return self.head(features).reshape(*lead, *self.out_shape)


class ConvDecoder(Recorded, nn.Module):
    """One linear layer, then transposed 3x3 convolutions, each doubling the image: `(*, *in_shape) -> (*, C, H, W)`.

    Args:
        in_shape: event shape of the input, the latent dimension.
        out_shape: `(C, H, W)` of the likelihood's parameters.
        channels: input channels of each transposed convolution, from the coarsest image to the finest.
        activation: the nonlinearity, a module class.

    Raises:
        ShapeError: in a call, the last dimensions of the input are not `in_shape`.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Sequence[int],
        channels: Sequence[int] = (32, 16, 8),
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape = as_shape(in_shape), as_image_shape(out_shape, "ConvDecoder")
        channels = check_counts("channels", channels)
        last, height, width = self.out_shape
        heights, widths = halvings(height, len(channels))[::-1], halvings(width, len(channels))[::-1]
        self.coarse = (channels[0], heights[0], widths[0])
        self.head = nn.Linear(math.prod(self.in_shape), math.prod(self.coarse))
        layers: list[nn.Module] = []
        for i, (wide, narrow) in enumerate(zip(channels, [*channels[1:], last], strict=True)):
            # A transposed convolution makes 2n - 1 pixels of n, so an even size needs one more.
            odd = (heights[i + 1] - 2 * heights[i] + 1, widths[i + 1] - 2 * widths[i] + 1)
            layers += [activation(), nn.ConvTranspose2d(wide, narrow, 3, stride=2, padding=1, output_padding=odd)]
        self.convolutions = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """From z, `(*, *in_shape)`, to `(*, C, H, W)`."""
        lead = leading(z, self.in_shape, "ConvDecoder")
        coarse = self.head(z.reshape(-1, math.prod(self.in_shape))).unflatten(-1, self.coarse)
        return self.convolutions(coarse).reshape(*lead, *self.out_shape)

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Set the last bias so that training starts near the mean of each channel of `output`, of shape `out_shape`."""
        bias = cast(nn.ConvTranspose2d, self.convolutions[-1]).bias
        cast(Tensor, bias).copy_(output.mean((-2, -1)))
