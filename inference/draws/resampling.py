"""Draws as they come from the guide, and draws chosen in proportion to their weights."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import NonFiniteError
from pyrovae.inference.draws.draws import LOG_WEIGHT
from pyrovae.inference.draws.plan import Draw, Plan, Values
from pyrovae.numeric import wide

__all__ = ["Weights", "corrected_draws", "plain_draws"]


class Weights:
    """The running sums of w and of w squared, in logarithms, for each datum of a chunk."""

    def __init__(self) -> None:
        self.sums: Any = None  # (2, B)

    def add(self, log_weight: Tensor) -> Tensor:
        """Take weights `(S, B)` in; return their share of the sum so far, `(B,)`."""
        log_weight = wide(log_weight)
        new = torch.stack([log_weight.logsumexp(0), (2 * log_weight).logsumexp(0)])
        self.sums = new if self.sums is None else torch.logaddexp(self.sums, new)
        return (new[0] - self.sums[0]).exp()

    @property
    def total(self) -> Tensor:
        """log sum_s w_s."""
        return self.sums[0]

    @property
    def effective(self) -> Tensor:
        """(sum w)^2 / sum w^2."""
        return (2 * self.sums[0] - self.sums[1]).exp()


def plain_draws(
    draw: Draw, plan: Plan, batch: Batch, rows: int, weights: Weights, common: dict[int, Values], shared: set[str]
) -> Iterator[tuple[slice, Values]]:
    """The draws of a chunk of data as they come; of the `shared` latents, of all data, those of the first chunk."""
    for part in plan.parts(plan.num_samples):
        values = draw(batch, rows, part.stop - part.start, common.get(part.start, {}))
        common[part.start] = {key: v for key, v in values.items() if key.name in shared}
        if LOG_WEIGHT in values:
            weights.add(values[LOG_WEIGHT])
        yield part, values


def corrected_draws(
    draw: Draw, plan: Plan, batch: Batch, place: slice, weights: Weights
) -> Iterator[tuple[slice, Values]]:
    """Sampling-importance-resampling, S draws chosen from more proposals than memory holds.

    Each of the S places holds one of the proposals so far, in proportion to its weight: a new part of them takes the
    place with the probability of its share in the sum of weights.
    """
    kept: Values = {}
    rows = place.stop - place.start
    for part in plan.parts(plan.proposals):
        values = draw(batch, rows, part.stop - part.start, {})
        share = weights.add(values[LOG_WEIGHT])
        log_weight = wide(values[LOG_WEIGHT])
        # Where all weights of the part are zero, its share is too, and any of it may be picked.
        log_weight = log_weight.where(log_weight.logsumexp(0).isfinite(), 0.0)
        picked = log_weight.softmax(0).T.multinomial(plan.num_samples, replacement=True).T
        columns = torch.arange(rows, device=picked.device)
        fresh = {key: value[picked, columns] for key, value in values.items()}
        taken = torch.rand(picked.shape, device=picked.device) < share
        kept = {key: _where(taken, value, kept.get(key, value)) for key, value in fresh.items()}
    total = weights.total
    if not total.isfinite().all():
        bad = [place.start + row for row in (~total.isfinite()).nonzero().flatten().tolist()]
        raise NonFiniteError(
            f"the {plan.proposals} weights of a datum are all zero, or not finite, at rows {bad[:5]} of the data, so "
            "no draw can be chosen by them. check_pair says what is not finite; otherwise take more proposals=..., or "
            "corrected=False."
        )
    kept[LOG_WEIGHT] = (total - math.log(plan.proposals)).to(kept[LOG_WEIGHT].dtype).expand(plan.num_samples, rows)
    return ((part, {key: value[part] for key, value in kept.items()}) for part in plan.parts(plan.num_samples))


def _where(chosen: Tensor, value: Tensor, other: Tensor) -> Tensor:
    """By draw and datum, `chosen` of shape `(S, B)`."""
    return value.where(chosen.reshape(*chosen.shape, *[1] * (value.dim() - 2)), other)
