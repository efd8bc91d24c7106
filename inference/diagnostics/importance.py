"""How far the importance weights of a guide can be trusted: effective sample size, and the shape of their tail."""

import torch
from torch import Tensor

from pyrovae.errors import NonFiniteError, PairError, ShapeError
from pyrovae.inference.pair.tails import FEWEST, Tail
from pyrovae.inference.pair.weights import WeightSums

__all__ = ["effective_sample_size", "psis_khat"]


def effective_sample_size(log_weight: Tensor) -> Tensor:
    """(sum_s w_s)^2 / sum_s w_s^2 for each data point, shape `(B,)`, between 1 and S.

    Args:
        log_weight: log-weights of S draws, `(S, B)`.

    Raises:
        ShapeError: the log-weights have another shape, or are no floats.
        NonFiniteError: a log-weight is NaN or plus infinity, or all of a data point are minus infinity.

    References: Kong (1992), A note on importance sampling using standardized weights.
    """
    return WeightSums.of(_finite(_required(log_weight))).effective_sample_size


def psis_khat(log_weight: Tensor) -> Tensor:
    """The Pareto tail index k-hat of the importance weights of each data point, shape `(B,)`.

    k-hat is the shape of the generalised Pareto distribution fitted to the largest min(S / 5, 3 sqrt(S)) weights. The
    weights have finite moments up to 1 / k. Below 0.5 importance sampling works well, and up to 0.7 with more draws;
    above 0.7 neither its mean nor its standard error can be trusted. k-hat is 0 where all weights are within 1 % of
    each other, and infinite where fewer than five weights are in the tail.

    k-hat speaks of the draws that there are: of a mode that the guide never visits it knows nothing.

    Args:
        log_weight: log-weights of S draws, `(S, B)`.

    Raises:
        ShapeError: the log-weights have another shape, or are no floats.
        PairError: fewer than 21 draws.
        NonFiniteError: a log-weight is NaN or plus infinity, or all of a data point are minus infinity.

    References: Vehtari et al. (2024), Pareto smoothed importance sampling, arXiv:1507.02646; Zhang & Stephens (2009), A
    new and efficient estimation method for the generalized Pareto distribution; Yao et al. (2018), Yes, but did it
    work?, arXiv:1802.02538, for its use on a variational posterior.
    """
    draws = len(_required(log_weight))
    if draws < FEWEST:
        raise PairError(f"k-hat requires at least {FEWEST} draws per data point, got {draws}. Write num_samples=1000.")
    return Tail.of(_finite(log_weight), draws).khat


def _required(log_weight: Tensor) -> Tensor:
    """Log-weights of draws and data points, as numbers that can be read."""
    dense = isinstance(log_weight, Tensor) and log_weight.layout == torch.strided and not log_weight.is_meta
    if not dense or log_weight.dim() != 2 or not log_weight.is_floating_point() or not log_weight.numel():
        got = tuple(log_weight.shape) if isinstance(log_weight, Tensor) else type(log_weight).__name__
        raise ShapeError(
            f"log-weights require floats of shape (S, B), S draws for each of B data points, got {got}. Write "
            "posterior(...).log_weights."
        )
    return log_weight


def _finite(log_weight: Tensor) -> Tensor:
    best = log_weight.amax(0)
    if not best.isfinite().all():  # amax keeps NaN
        rows = (~best.isfinite()).nonzero()[:, 0].tolist()
        raise NonFiniteError(
            f"the log-weights of {len(rows)} of {len(best)} data points, rows {rows[:5]}, have no finite largest "
            "value. check_pair(model, guide, batch) names the site."
        )
    return log_weight
