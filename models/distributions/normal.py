"""Diagonal normals whose parameters a network predicts: p(z | h) = Normal(z; loc(h), scale(h))."""

import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.numeric import bounded_scale

__all__ = ["ConditionalNormal", "diagonal_normal"]


def diagonal_normal(params: Tensor, event_dim: int = 1) -> TorchDistribution:
    """prod_d Normal(z_d; loc_d, scale_d), loc and raw scale stacked along the first of `event_dim` dimensions.

    The scale is bounded away from 0 and infinity.
    """
    loc, raw_scale = params.chunk(2, dim=-event_dim)
    return dist.Normal(loc, bounded_scale(raw_scale)).to_event(event_dim)


class ConditionalNormal(nn.Module):
    """p(z | h) = prod_d Normal(z_d; loc_d(h), scale_d(h)): `conditional(h) -> p(z | h)`.

    Args:
        network: from h to loc and raw scale, stacked along the first event dimension: `(*, *h) -> (*, 2 D)`, or
            `(*, 2 C, H, W)` for spatial latents. The scale is bounded away from 0 and infinity.
        event_dim: the number of event dimensions of z, 1 for `(D,)`, 3 for `(C, H, W)`.
    """

    def __init__(self, network: nn.Module, event_dim: int = 1) -> None:
        super().__init__()
        self.network, self.event_dim = network, event_dim

    def forward(self, h: Tensor) -> TorchDistribution:
        return diagonal_normal(self.network(h), self.event_dim)
