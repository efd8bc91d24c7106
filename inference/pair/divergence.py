"""Divergences KL(q || p) in closed form, and the marginal distributions of single dimensions."""

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
    """The marginal distributions of all dimensions, of batch shape `(*batch, *event)`; None if not in closed form.

    Args:
        fn: a distribution of batch shape `batch` and event shape `event`.
    """
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
    """The marginals, of batch shape `(*batch, D)`, from logits `(*batch, K)`, locs and scales `(*batch, K, D)`."""
    weights = logits.unsqueeze(-2).expand(*loc.shape[:-2], loc.shape[-1], loc.shape[-2])
    return dist.MixtureSameFamily(dist.Categorical(logits=weights), dist.Normal(loc.mT, scale.mT))


def masked(rate: Tensor, site: Site) -> Tensor:
    """A rate with 0 where the site is masked.

    Args:
        rate: nats for each entry of the site, `(*batch, *event)`.
        site: the site, whose mask is `(*batch,)`, a bool, or None.
    """
    mask = site["mask"]
    if isinstance(mask, Tensor):
        mask = mask.reshape(mask.shape + (1,) * site["fn"].event_dim)
    return scale_and_mask(rate, 1.0, mask)


def in_both_orders(pair: PairTrace) -> list[str]:
    """The latents whose rate is the mean, over the draws of the latents before, of the closed form KL(q || p).

    For such a latent, all latents before it in the model are before it in the guide too, and its prior does not depend
    on an enumerated latent.

    Args:
        pair: one run of the pair.
    """
    guide = list(sites(pair.guide))
    above: set[str] = set()
    found = []
    for name, (inner, outer) in pair.latent().items():
        shape = inner["fn"].batch_shape  # a prior that is the same for all draws may have a smaller one
        plain = torch.broadcast_shapes(shape, outer["fn"].batch_shape) == shape
        if plain and above <= set(guide[: guide.index(name)]):
            found.append(name)
        above.add(name)
    return found


def closed_kl(q: TorchDistribution, p: TorchDistribution) -> Tensor | None:
    """KL(q || p) in closed form; None if there is none.

    Args:
        q, p: distributions of the same event shape.
    """
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
