"""Draws that are chosen in proportion to their weights."""

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import NonFiniteError
from pyrovae.inference.draws.draws import LOG_WEIGHT
from pyrovae.inference.draws.plan import Draw, Plan, Values
from pyrovae.inference.pair.weights import WeightSums
from pyrovae.numeric import wide

__all__ = ["corrected_draws", "share"]


def corrected_draws(draw: Draw, plan: Plan, batch: Batch, where: slice) -> tuple[Values, WeightSums]:
    """Choose S draws from more proposals than memory holds, by sampling-importance-resampling.

    Each of the S places holds one of the proposals so far, in proportion to its weight. A new part of the proposals
    takes a place with the probability of its share in the sum of weights.

    Args:
        draw: draws proposals with their log-weights.
        plan: the chunks, and the numbers of draws and proposals.
        batch: the data points of a chunk.
        where: their rows in the data, for the error.

    Returns:
        The S draws, each with the mean weight of the proposals, and the sums of the weights of the proposals.

    Raises:
        NonFiniteError: the weights of a data point are all zero, or are not finite.
    """
    rows = where.stop - where.start
    kept: Values = {}
    total: WeightSums | None = None
    for part in plan.parts(plan.proposals):
        values = draw(batch, rows, part.stop - part.start, {})
        weights = WeightSums.of(values[LOG_WEIGHT])
        total = weights if total is None else total.merge(weights)
        fresh, shape = _picked(values, plan.num_samples)
        taken = torch.rand(shape, device=total.logs.device) < share(weights, total)
        kept = {key: _chosen(taken, value, kept.get(key, value)) for key, value in fresh.items()}
    assert total is not None  # there is at least one proposal
    _require_finite(total, where)
    kept[LOG_WEIGHT] = total.log_mean.to(kept[LOG_WEIGHT].dtype).expand(plan.num_samples, rows)
    return kept, total


def share(part: WeightSums, total: WeightSums) -> Tensor:
    """The share of some draws in the sum of the weights of all, `(B,)`.

    Args:
        part: the sums over these draws.
        total: the sums over all draws, with these.
    """
    return (part.log_sum - total.log_sum).exp()


def _picked(values: Values, num_samples: int) -> tuple[Values, torch.Size]:
    """Draws picked with replacement, in proportion to their weights, and the shape `(S, B)` of the picks."""
    log_weight = wide(values[LOG_WEIGHT])
    # Where all weights of a part are zero, its share is zero too, and any of its draws may be picked.
    log_weight = log_weight.where(log_weight.logsumexp(0).isfinite(), 0.0)
    picked = log_weight.softmax(0).T.multinomial(num_samples, replacement=True).T
    columns = torch.arange(picked.shape[1], device=picked.device)
    return {key: value[picked, columns] for key, value in values.items()}, picked.shape


def _chosen(taken: Tensor, value: Tensor, other: Tensor) -> Tensor:
    """One of two values by draw and data point, `taken` of shape `(S, B)`."""
    return value.where(taken.reshape(*taken.shape, *[1] * (value.dim() - 2)), other)


def _require_finite(weights: WeightSums, where: slice) -> None:
    bad = [where.start + row for row in (~weights.log_sum.isfinite()).nonzero().flatten().tolist()]
    if bad:
        raise NonFiniteError(
            f"corrected draws require weights that are finite and not all zero, got {weights.num_samples} that are "
            f"not at rows {bad[:5]} of the data. check_pair(model, guide, batch) names what is not finite. Where all "
            "are zero, increase proposals=..., or write corrected=False."
        )
