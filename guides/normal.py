"""The diagonal-normal guide: q(z | x) = Normal(z; loc(x), scale(x))."""

import pyro
import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.models import Program
from pyrovae.networks import bounded_scale

__all__ = ["NormalGuide"]


class NormalGuide(Program):
    """q(z | x) = prod_d Normal(z_d; loc_d(x), scale_d(x)).

    Args:
        encoder: a network `(*, *event) -> (*, 2 D)`; its output is loc and raw scale, and the scale is
            bounded away from 0 and infinity.

    References: Kingma & Welling (2014), arXiv:1312.6114.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def posterior(self, params: Tensor) -> TorchDistribution:
        """q(z | params), `params` of shape `(*, 2 D)`, event shape `(D,)`."""
        loc, raw_scale = params.chunk(2, dim=-1)
        return dist.Normal(loc, bounded_scale(raw_scale)).to_event(1)

    def forward(self, x: Tensor) -> Tensor:
        with pyro.plate("data", len(x), dim=-1):
            return pyro.sample("z", self.posterior(self.encoder(x)))  # z ~ q(z | x)
