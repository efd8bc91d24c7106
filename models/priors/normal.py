"""A normal prior whose mean and scale are known."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_equally_many, check_number, check_positive, check_several
from pyrovae.recorded import Recorded

__all__ = ["Normal"]


class Normal(Recorded, nn.Module):
    """p(z) = prod_d Normal(z_d; loc_d, scale_d), with z of shape `(D,)`; loc and scale are not trained.

    Args:
        loc: D numbers.
        scale: D numbers above 0.

    Raises:
        SettingError: a number that is not finite, a scale that is not positive, or not as many scales as locs.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Sequence[float], scale: Sequence[float]) -> None:
        super().__init__()
        locs = [check_number("loc", value) for value in check_several("loc", loc)]
        scales = [check_positive("scale", value) for value in check_several("scale", scale)]
        check_equally_many("scale", scales, len(locs), "numbers of loc")
        self.register_buffer("loc", torch.tensor(locs))
        self.register_buffer("scale", torch.tensor(scales))

    def forward(self) -> TorchDistribution:
        return dist.Normal(self.loc, self.scale).to_event(1)

    def extra_repr(self) -> str:
        return f"{self.loc.tolist()}, {self.scale.tolist()}"
