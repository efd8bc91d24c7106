"""Diagonal normals: of parameters that a network emits, and the product of several."""

import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_positive
from pyrovae.errors import PairError
from pyrovae.numeric import bounded_scale
from pyrovae.recorded import Recorded

__all__ = ["ConditionalNormal", "diagonal_normal", "precision_weighted"]


def diagonal_normal(params: Tensor, event_dim: int = 1, bound: float = 7.0) -> TorchDistribution:
    """prod_d Normal(z_d; loc_d, scale_d), whose scale is bounded away from 0 and infinity.

    Args:
        params: loc and raw scale, stacked along the first event dimension: `(*, 2 D)`, or `(*, 2 C, H, W)`.
        event_dim: the number of event dimensions of z, 1 for `(D,)`, 3 for `(C, H, W)`.
        bound: the scale lies in (e^-bound, e^bound).
    """
    loc, raw_scale = params.chunk(2, dim=-event_dim)
    return dist.Normal(loc, bounded_scale(raw_scale, bound)).to_event(event_dim)


class ConditionalNormal(Recorded, nn.Module):
    """p(z | h) = prod_d Normal(z_d; loc_d(h), scale_d(h)): `conditional(h) -> p(z | h)`, h one or several tensors.

    The scale is bounded away from 0 and infinity. In a ladder of many levels, a small bound keeps a level that carries
    no information from becoming a layer of the network, whose z is its loc at any size: training then diverges.

    Args:
        network: a map from h to loc and raw scale, stacked along the first event dimension: `(*, *h) -> (*, 2 D)`, or
            `(*, 2 C, H, W)` for spatial latents. It takes as many inputs as the conditional is called with.
        event_dim: the number of event dimensions of z, 1 for `(D,)`, 3 for `(C, H, W)`.
        bound: the scale lies in (e^-bound, e^bound).

    Raises:
        SettingError: `bound` is not above 0.
    """

    def __init__(self, network: nn.Module, event_dim: int = 1, bound: float = 7.0) -> None:
        super().__init__()
        self.network, self.event_dim, self.bound = network, event_dim, check_positive("bound", bound, write=7.0)

    def forward(self, *h: Tensor) -> TorchDistribution:
        return diagonal_normal(self.network(*h), self.event_dim, self.bound)


def precision_weighted(*normals: TorchDistribution) -> TorchDistribution:
    """The normalised product of diagonal normals: its precision is their sum, its mean their precision-weighted mean.

    Args:
        normals: diagonal normals of the same event shape.

    Raises:
        PairError: one of them is not a diagonal normal.
    """
    parts = [normal.base_dist if isinstance(normal, dist.Independent) else normal for normal in normals]
    other = [part for part in parts if not isinstance(part, dist.Normal)]
    if other:
        raise PairError(
            f"precision_weighted requires diagonal normals, got a {type(other[0]).__name__}. Make the model's "
            "conditionals and the guide's messages ConditionalNormal(network), or take guides.BottomUpGuide."
        )
    precisions = [part.scale**-2 for part in parts]
    total = sum(precisions)
    loc = sum(precision * part.loc for precision, part in zip(precisions, parts, strict=True)) / total
    return dist.Normal(loc, total.rsqrt()).to_event(normals[0].event_dim)
