"""Residual convolutional networks: images to vectors and back, for any number of leading dimensions."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from pyrovae.checks import check_counts
from pyrovae.networks.blocks import ConvBlock
from pyrovae.networks.convolutional import halvings
from pyrovae.networks.shape import Shape, as_image_shape, as_shape, leading
from pyrovae.recorded import Recorded

__all__ = ["ResidualConvDecoder", "ResidualConvEncoder"]


class ResidualConvEncoder(Recorded, nn.Module):
    """A 3x3 convolution, residual blocks that halve the image, a linear layer: `(*, C, H, W) -> (*, *out_shape)`.

    Args:
        in_shape: `(C, H, W)`, any size.
        out_shape: event shape of the output.
        channels: output channels of each block; the first convolution has as many as the first block.
        activation: the nonlinearity, a module class.

    Raises:
        ShapeError: in a call, the last dimensions of the input are not `in_shape`.

    References: He et al. (2016), arXiv:1603.05027, for the order inside a block.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Shape,
        channels: Sequence[int] = (16, 32, 64),
        activation: Callable[[], nn.Module] = nn.ELU,
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape = as_image_shape(in_shape, "ResidualConvEncoder"), as_shape(out_shape)
        channels = check_counts("channels", channels)
        shapes = _pyramid(self.in_shape, channels)
        self.blocks = nn.Sequential(
            nn.Conv2d(self.in_shape[0], channels[0], 3, padding=1),
            *(ConvBlock(fine, coarse, coarse[0], activation=activation) for fine, coarse in pairwise(shapes)),
            activation(),
        )
        self.head = nn.Linear(math.prod(shapes[-1]), math.prod(self.out_shape))

    def forward(self, x: Tensor) -> Tensor:
        lead = leading(x, self.in_shape, "ResidualConvEncoder")
        return self.head(self.blocks(x.reshape(-1, *self.in_shape)).flatten(1)).reshape(*lead, *self.out_shape)


class ResidualConvDecoder(Recorded, nn.Module):
    """A linear layer, residual blocks that double the image, a 3x3 convolution: `(*, *in_shape) -> (*, C, H, W)`.

    Args:
        in_shape: event shape of the input, the latent dimension.
        out_shape: `(C, H, W)` of the likelihood's parameters.
        channels: output channels of each block, from the coarsest image to the finest.
        activation: the nonlinearity, a module class.

    Raises:
        ShapeError: in a call, the last dimensions of the input are not `in_shape`.

    References: He et al. (2016), arXiv:1603.05027, for the order inside a block.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Sequence[int],
        channels: Sequence[int] = (64, 32, 16),
        activation: Callable[[], nn.Module] = nn.ELU,
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape = as_shape(in_shape), as_image_shape(out_shape, "ResidualConvDecoder")
        channels = check_counts("channels", channels)
        shapes = _pyramid(self.out_shape, channels[::-1])[::-1]
        self.coarse = shapes[0]
        self.head = nn.Linear(math.prod(self.in_shape), math.prod(self.coarse))
        self.blocks = nn.Sequential(
            *(ConvBlock(coarse, fine, fine[0], activation=activation) for coarse, fine in pairwise(shapes)),
            activation(),
            nn.Conv2d(channels[-1], self.out_shape[0], 3, padding=1),
        )

    def forward(self, z: Tensor) -> Tensor:
        """From z, `(*, *in_shape)`, to `(*, C, H, W)`."""
        lead = leading(z, self.in_shape, "ResidualConvDecoder")
        coarse = self.head(z.reshape(-1, math.prod(self.in_shape))).unflatten(-1, self.coarse)
        return self.blocks(coarse).reshape(*lead, *self.out_shape)

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Set the last bias so that training starts near the mean of each channel of `output`, of shape `out_shape`."""
        cast(Tensor, cast(nn.Conv2d, self.blocks[-1]).bias).copy_(output.mean((-2, -1)))


def _pyramid(image: tuple[int, ...], channels: Sequence[int]) -> list[tuple[int, ...]]:
    """The shapes between the blocks, from the finest: the full size with the first channels, then halved each time."""
    heights, widths = (halvings(size, len(channels)) for size in image[1:])
    return list(zip((channels[0], *channels), heights, widths, strict=True))
