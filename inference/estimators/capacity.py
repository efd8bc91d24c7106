"""How far a table with gaps supports a model of it, judged by observed cells that are held out."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.inference.estimators.linear_start import MOST_ROWS
from pyrovae.inference.tasks.factor_analysis import factor_analysis
from pyrovae.inference.tasks.imputation import impute

__all__ = ["FACTORS", "choose_capacity", "held_out_score"]

FACTORS = (2, 5, 10, 20)
"""Numbers of factors among which is chosen; no more than D - 1."""

_RIDGES = (0.0, 3.0, 10.0)
_PARTS = 3
_SHARE = 0.1
"""So many parts of the observed cells are held out in turn, each of this share."""

_QUARTERS, _DRAWS = 4, 100
"""Parts of the observed cells, and draws of the guide, by which a trained pair is judged."""


def choose_capacity(x: Tensor, mask: Tensor, counts: Iterable[int] = FACTORS) -> tuple[int, float]:
    """The number of factors and the ridge of the factor analysis that predicts held-out observed cells best.

    Three tenths of the observed cells are held out, one after the other, and predicted from the rest of their rows;
    they are the same in each call. The measure is the mean squared error in units of the column's standard deviation.

    Args:
        x: rows `(N, D)`; what stands in a gap does not matter.
        mask: which entries are observed, bool `(N, D)`.
        counts: numbers of factors to choose among; one above D - 1 stands for D - 1.
    """
    every = -(-len(x) // MOST_ROWS)
    x, mask = x[::every].double(), mask[::every]
    most = max(1, x.shape[1] - 1)
    tried = [(count, ridge) for count in sorted({min(count, most) for count in counts}) for ridge in _RIDGES]
    if len(x) < 2 or not mask.any():
        return tried[0]
    spread = _spread(x, mask)
    draws = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    parts = [mask & (draws >= _SHARE * part) & (draws < _SHARE * (part + 1)) for part in range(_PARTS)]
    return min(tried, key=lambda one: sum(_error(x / spread, mask & ~held, held, *one) for held in parts))


def held_out_score(model: Any, guide: Any, batch: Batch, categories: Tensor, *, seed: int = 0) -> Tensor:
    """Minus the sum of the errors of each row's observed cells, `(N,)`, a quarter at a time predicted from the rest.

    The error of a number is squared, in units of the column's standard deviation; that of a wrong category is 1.

    Args:
        model, guide: a pair of rows with gaps.
        batch: `x` and `mask`, `(N, D)`.
        categories: which columns have categories, bool `(D,)`.
        seed: the seed of the draws.
    """
    x, mask = batch["x"], batch["mask"].bool()
    spread, score = _spread(x, mask), torch.zeros(len(x))
    quarters = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).mul(_QUARTERS).long()
    for quarter in range(_QUARTERS):
        held = mask & (quarters == quarter)
        found = impute(model, guide, {**batch, "mask": mask & ~held}, num_samples=_DRAWS, seed=seed).x.to(x)
        error = torch.where(categories, (found != x).to(x.dtype), ((found - x) / spread).square())
        score -= torch.where(held, error, 0.0).sum(1)
    return score


def _spread(x: Tensor, mask: Tensor) -> Tensor:
    """The standard deviation of the observed entries of each column; 1 for a constant one."""
    gaps = torch.where(mask, x, torch.nan)
    spread = (gaps - gaps.nanmean(0)).square().nanmean(0).sqrt()
    return torch.where(spread > 1e-12, spread, 1.0)


def _error(x: Tensor, seen: Tensor, held: Tensor, count: int, ridge: float) -> float:
    """The sum of the squared errors of the held-out entries."""
    found = factor_analysis(x, count, seen, tolerance=1e-3, num_steps=200, ridge=ridge)
    return (found.impute(x, seen) - x)[held].square().sum().item()
