"""A convolutional network that attends to one place of an image."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pyrovae.checks import check_counts
from pyrovae.networks.convolutional import strided
from pyrovae.networks.shape import Shape, as_image_shape, as_shape, leading
from pyrovae.recorded import Recorded

__all__ = ["Attention"]


class Attention(Recorded, nn.Module):
    """A linear layer of what an image holds at one place, and of the place: `(*, C, H, W) -> (*, *out_shape)`.

    With features f_j and a score s_j at each place j of a coarse grid, computed by convolutions,

        w = softmax(s),   output = W [sum_j w_j f_j, sum_j w_j (x_j, y_j)] + b,

    where (x_j, y_j) is the place in [-1, 1] x [-1, 1]. What it learns at one place holds at all of them.

    Args:
        in_shape: `(C, H, W)`, any size.
        out_shape: event shape of the output.
        channels: output channels of each 3x3 convolution of stride 2, which halves the image; one more convolution of
            stride 1 follows.
        activation: the nonlinearity, a module class.

    Raises:
        ShapeError: in a call, the last dimensions of the input are not `in_shape`.

    References: Levine et al. (2016), arXiv:1504.00702, the expected place under a softmax.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Shape,
        channels: Sequence[int] = (8, 16, 32),
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape = as_image_shape(in_shape, "Attention"), as_shape(out_shape)
        channels = check_counts("channels", channels)
        last, halved = channels[-1], strided([self.in_shape[0], *channels], activation)
        self.convolutions = nn.Sequential(*halved, nn.Conv2d(last, last, 3, padding=1), activation())
        self.score = nn.Conv2d(last, 1, 1, bias=False)
        self.head = nn.Linear(last + 2, math.prod(self.out_shape))

    def forward(self, x: Tensor) -> Tensor:
        lead = leading(x, self.in_shape, "Attention")
        features = self.convolutions(x.reshape(-1, *self.in_shape))
        weights = self.score(features).flatten(1).softmax(-1)
        places = torch.cat([features.flatten(2), _places(features)], 1)
        return self.head((places @ weights.unsqueeze(-1)).squeeze(-1)).reshape(*lead, *self.out_shape)


def _places(features: Tensor) -> Tensor:
    """The places (x, y) of a grid of features `(n, C, H, W)`: `(n, 2, H W)`."""
    y, x = (torch.linspace(-1, 1, size, dtype=features.dtype, device=features.device) for size in features.shape[-2:])
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy")).flatten(1)
    return grid.expand(len(features), -1, -1)
