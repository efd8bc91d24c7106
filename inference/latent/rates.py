"""The rate of each latent dimension: KL(q(z_d | x) || p(z_d)), averaged over data."""

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.pair.divergence import closed_kl, in_both_orders, marginals, masked
from pyrovae.inference.pair.entry import entered
from pyrovae.inference.pair.running import ROWS, Transform, batches, device_of, evaluating, seeded
from pyrovae.inference.pair.scoring import is_global
from pyrovae.inference.pair.tracing import PairTrace, sites, trace_pair

__all__ = ["dimension_rates"]


DRAWS = 64  # draws per data point and dimension, without a closed form


def dimension_rates(
    model: ProgramLike, guide: ProgramLike, data: Batch, *, transform: Transform | None = None, seed: int = 0
) -> dict[str, Tensor]:
    """The rate KL(q(z_d | x) || p(z_d)) of each dimension d of each latent site, `(*event)`, in nats per data point.

    In a hierarchy both are given a draw of the levels above. The divergence is in closed form where there is one, and
    otherwise the mean of log q - log p over 64 draws per data point. A normal with covariance and a mixture are
    replaced by their marginals. A distribution whose marginals have no density (a flow, a prior that a summed-out
    latent mixes) is replaced by the normal with its means and variances. The rate of a point mass is infinite, and
    under an improper prior it is NaN.

    Where q and p are products over dimensions, the sum over d is the rate of the site. A latent outside the plate
    "data", and one that is summed out, have no entry.

    Args:
        model, guide: the pair.
        data: named tensors of N data points.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.
        seed: the seed of the draws; the global random state is left alone.

    Raises:
        PairError: no data.
    """
    data = entered("dimension_rates", data, transform, model, guide)
    size, device = batch_size(data), device_of(model, guide)
    totals: dict[str, Tensor] = {}
    with evaluating(model, guide), seeded(seed, device):
        for batch in batches(data, ROWS, transform, device):
            pair = trace_pair(model, guide, batch, data_size=size)
            for name, (inner, _) in pair.latent().items():
                if not is_global(inner):
                    total = masked(_rate(pair, name), inner).sum(len(inner["fn"].batch_shape) - 1)
                    totals[name] = totals[name] + total if name in totals else total
    return {name: total / size for name, total in totals.items()}


def _rate(pair: PairTrace, name: str) -> Tensor:
    """The rate of each data point and dimension, `(*batch, *event)`."""
    inner, outer = pair.latent()[name]
    q, p, order = marginals(inner["fn"]), marginals(outer["fn"]), list(sites(pair.model))
    mixed = any(order.index(other) < order.index(name) for other in pair.undrawn())
    if q is None or p is None or mixed:
        return _by_moments(_moments(inner["fn"]), _moments(outer["fn"], over_data=mixed))
    if name not in in_both_orders(pair):  # the levels above were drawn given this very value
        return q.log_prob(inner["value"]) - p.log_prob(inner["value"])
    closed = closed_kl(q, p)
    if closed is not None:
        return closed
    z = q.sample((DRAWS,))
    return (q.log_prob(z) - p.log_prob(z)).mean(0)


Moments = tuple[Tensor, Tensor]


def _by_moments(q: Moments, p: Moments) -> Tensor:
    """KL of the normals with these means and variances; 0 between equal points, as at a step beyond a sequence."""
    same = (q[1] == 0) & (p[1] == 0) & (q[0] == p[0])
    return torch.where(same, 0.0, ((q[1] + (q[0] - p[0]).square()) / p[1] - 1 + p[1].log() - q[1].log()) / 2)


def _moments(fn: TorchDistribution, over_data: bool = False) -> Moments:
    """Mean and variance of each dimension, `(*batch, *event)`, or over the draws of all data, `(*event)`."""
    try:
        if not over_data:
            return fn.mean, fn.variance
    except NotImplementedError:
        pass
    try:
        z = torch.stack([fn.sample() for _ in range(DRAWS)])  # Pyro's mixtures take no sample shape
    except PairError:  # an improper prior has no draws
        return torch.tensor(torch.nan), torch.tensor(torch.nan)
    z = z.flatten(0, len(fn.batch_shape)) if over_data else z
    return z.mean(0), z.var(0)
