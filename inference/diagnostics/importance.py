"""How far the importance weights of a guide can be trusted: effective sample size, and the shape of their tail."""

import math

import torch
from torch import Tensor

from pyrovae.errors import NonFiniteError, PairError
from pyrovae.inference.pair.weights import WeightSums
from pyrovae.numeric import wide

__all__ = ["FEWEST", "effective_sample_size", "psis_khat"]

FEWEST = 21
"""The fewest draws whose tail, a fifth of them, is long enough for a fit."""

NEGLIGIBLE = 0.01  # weights that differ by less than this, relatively, have no tail that matters
FITTED = 500  # data points fitted at once: bounds the memory of the grid


def effective_sample_size(log_weight: Tensor) -> Tensor:
    """(sum_s w_s)^2 / sum_s w_s^2 for each data point, shape `(B,)`, between 1 and S.

    Args:
        log_weight: log-weights of S draws, `(S, B)`.

    Raises:
        NonFiniteError: a log-weight is NaN or plus infinity, or all of a data point are minus infinity.

    References: Kong (1992), A note on importance sampling using standardized weights.
    """
    return WeightSums.of(_finite(log_weight)).effective_sample_size


def psis_khat(log_weight: Tensor) -> Tensor:
    """The Pareto tail index k-hat of the importance weights of each data point, shape `(B,)`.

    k-hat is the shape of the generalised Pareto distribution fitted to the largest min(S / 5, 3 sqrt(S)) weights. The
    weights have finite moments up to 1 / k. Below 0.5 importance sampling works well, and up to 0.7 with more draws;
    above 0.7 neither its mean nor its standard error can be trusted. k-hat is 0 where all weights are within 1 % of
    each other, and infinite where fewer than five weights are in the tail.

    Args:
        log_weight: log-weights of S draws, `(S, B)`.

    Raises:
        PairError: fewer than 21 draws.
        NonFiniteError: a log-weight is NaN or plus infinity, or all of a data point are minus infinity.

    References: Vehtari et al. (2024), Pareto smoothed importance sampling, arXiv:1507.02646; Zhang & Stephens (2009), A
    new and efficient estimation method for the generalized Pareto distribution; Yao et al. (2018), Yes, but did it
    work?, arXiv:1802.02538, for its use on a variational posterior.
    """
    draws = len(log_weight)
    if draws < FEWEST:
        raise PairError(f"k-hat requires at least {FEWEST} draws per data point, got {draws}. Write num_samples=1000.")
    relative = wide(_finite(log_weight)).T  # (B, S)
    relative = relative - relative.amax(-1, keepdim=True)
    longest = math.ceil(min(draws / 5, 3 * math.sqrt(draws)))
    tail = relative.topk(longest + 1, -1).values.flip(-1)
    cutoff = tail[:, :1].clamp_min(math.log(torch.finfo(torch.float64).tiny))
    excess, lengths = tail[:, 1:].exp() - cutoff.exp(), (tail[:, 1:] > cutoff).sum(-1)
    khat = torch.full_like(cutoff[:, 0], math.inf)
    for length in lengths.unique().tolist():  # one length for all data points, unless weights are equal or vanish
        if length > 4:
            mine = (lengths == length).nonzero()[:, 0]
            khat[mine] = torch.cat([_pareto_shape(part) for part in excess[mine, -length:].split(FITTED)])
    khat[relative.amin(-1) > -NEGLIGIBLE] = 0.0
    return khat.nan_to_num(nan=math.inf, posinf=math.inf)


def _finite(log_weight: Tensor) -> Tensor:
    best = log_weight.amax(0)
    if not best.isfinite().all():  # amax keeps NaN
        rows = (~best.isfinite()).nonzero()[:, 0].tolist()
        raise NonFiniteError(
            f"the log-weights of {len(rows)} of {len(best)} data points, rows {rows[:5]}, have no finite largest "
            "value. check_pair(model, guide, batch) names the site."
        )
    return log_weight


def _pareto_shape(excess: Tensor) -> Tensor:
    """k of each row of ascending excesses over a cutoff `(R, n)`, shape `(R,)`.

    This is the posterior mean of Zhang & Stephens over a grid of b = -k / scale, shrunk towards 1/2 with the weight of
    ten observations.
    """
    n = excess.shape[-1]
    size = 30 + math.isqrt(n)
    steps = torch.arange(1, size + 1, dtype=excess.dtype, device=excess.device) - 0.5
    quartile, largest = excess[:, int(n / 4 + 0.5) - 1, None], excess[:, -1:]
    b = 1 / largest + (1 - (size / steps).sqrt()) / (3 * quartile)  # (R, M)
    k = torch.log1p(-b.unsqueeze(-1) * excess.unsqueeze(1)).mean(-1)
    weight = (n * ((-b / k).log() - k - 1)).softmax(-1)
    weight = torch.where(weight < 10 * torch.finfo(excess.dtype).eps, 0, weight)
    mean = (b * weight).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True)
    return (n * torch.log1p(-mean * excess).mean(-1) + 5) / (n + 10)
