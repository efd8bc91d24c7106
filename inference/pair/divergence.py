"""Divergences KL(q || p) in closed form, and the distributions of single dimensions that they are taken of."""

from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions import Independent, kl_divergence

from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import Site
from pyrovae.inference.pair.tracing import PairTrace, sites
from pyrovae.models.distributions.mixture import DiagonalMixture

__all__ = ["closed_kl", "factors", "in_both_orders", "marginals", "masked"]


def marginals(fn: TorchDistribution) -> Any | None:
    """The marginals of a distribution, batch shape `(*batch, *event)`; None where they have no closed form."""
    base: Any = getattr(fn, "base_dist", None)
    if not fn.event_shape:
        return fn
    if isinstance(fn, Independent) and not base.event_shape:
        return base
    if isinstance(fn, dist.MultivariateNormal | dist.LowRankMultivariateNormal):
        return dist.Normal(fn.mean, fn.variance.sqrt())
    if isinstance(fn, dist.MixtureOfDiagNormals):
        return _mixtures(fn.component_logits, fn.locs, fn.coord_scale)
    return _mixtures(fn.logits, fn.loc, fn.scale) if isinstance(fn, DiagonalMixture) else None


def _mixtures(logits: Tensor, loc: Tensor, scale: Tensor) -> Any:
    """The marginal mixtures, batch shape `(*batch, D)`, of logits `(*batch, K)`, locs and scales `(*batch, K, D)`."""
    weights = logits.unsqueeze(-2).expand(*loc.shape[:-2], loc.shape[-1], loc.shape[-2])
    return dist.MixtureSameFamily(dist.Categorical(logits=weights), dist.Normal(loc.mT, scale.mT))


def masked(rate: Tensor, site: Site) -> Tensor:
    """A rate `(*batch, *event)` with 0 where the site is masked."""
    mask = site["mask"]
    if isinstance(mask, Tensor):
        mask = mask.reshape(mask.shape + (1,) * site["fn"].event_dim)
    return scale_and_mask(rate, 1.0, mask)


def in_both_orders(pair: PairTrace) -> list[str]:
    """The latents whose rate is the mean of its closed form over the draws of the latents before.

    All latents that come before such a latent in the model come before it in the guide too, and its prior depends on
    no enumerated latent.
    """
    guide = list(sites(pair.guide))
    above: set[str] = set()
    found = []
    for name, (inner, outer) in pair.latent().items():
        shape = inner["fn"].batch_shape  # to which a prior that is the same for all draws need not be expanded
        plain = torch.broadcast_shapes(shape, outer["fn"].batch_shape) == shape
        if plain and above <= set(guide[: guide.index(name)]):
            found.append(name)
        above.add(name)
    return found


def closed_kl(q: TorchDistribution, p: TorchDistribution) -> Tensor | None:
    """KL(q || p) in closed form; None where there is none."""
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return None


def factors(site: Site, whose: str, what: str, instead: str) -> Any:
    """The distributions of a site's dimensions, which `to_event` made one.

    Args:
        site: of a trace.
        whose: "model" or "guide", the program that the site is in, for the error.
        what: who asks, for the error: an objective, perhaps with the argument that asks.
        instead: the line to write instead, for the error.

    Raises:
        PairError: the distribution is not a product over dimensions.
    """
    fn = site["fn"]
    base: Any = getattr(fn, "base_dist", None)
    if isinstance(fn, Independent) and not base.event_shape:
        return base
    raise PairError(
        f"{what} requires a product over dimensions, got the {whose}'s {type(fn).__name__} at site '{site['name']}'. "
        f"{instead}"
    )
