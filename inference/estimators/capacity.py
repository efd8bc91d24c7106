"""How many factors a table with gaps supports, and how much to shrink them: by observed cells that are held out."""

from collections.abc import Iterable

import torch
from torch import Tensor

from pyrovae.inference.estimators.linear_start import MOST_ROWS
from pyrovae.inference.tasks.factor_analysis import factor_analysis

__all__ = ["FACTORS", "choose_capacity"]

FACTORS = (2, 5, 10, 20)
"""Numbers of factors among which is chosen; no more than D - 1."""

_RIDGES = (0.0, 3.0, 10.0)
_PARTS = 3
_SHARE = 0.1
"""So many parts of the observed cells are held out in turn, each of this share."""


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


def _spread(x: Tensor, mask: Tensor) -> Tensor:
    """The standard deviation of the observed entries of each column; 1 for a constant one."""
    gaps = torch.where(mask, x, torch.nan)
    spread = (gaps - gaps.nanmean(0)).square().nanmean(0).sqrt()
    return torch.where(spread > 1e-12, spread, 1.0)


def _error(x: Tensor, seen: Tensor, held: Tensor, count: int, ridge: float) -> float:
    """The sum of the squared errors of the held-out entries."""
    found = factor_analysis(x, count, seen, tolerance=1e-3, num_steps=200, ridge=ridge)
    return (found.impute(x, seen) - x)[held].square().sum().item()
