"""Which rows to learn from where some are anomalies: those that a simple model finds least surprising."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from pyrovae.inference.tasks.factor_analysis import factor_analysis

__all__ = ["kept_rows"]

_ROUNDS = 2
_MOST_ROWS = 5000
"""Factor analysis is fitted to at most so many rows, evenly spaced."""


def kept_rows(x: Tensor, num_reals: int, num_factors: int, trim: float) -> Tensor:
    """Which rows to learn from, bool `(N,)`: all but a share of the most surprising, and two rows at least.

    Rows are first judged by their columns one by one, and then by factor analysis of the rows that are kept so far, in
    two rounds: as for the minimum covariance determinant, whose concentration steps these are. A group of anomalies so
    cannot turn the factors towards itself.

    Args:
        x: rows `(N, D)` as a `ColumnScaling` gives them: reals, then places of values.
        num_reals: how many columns are real.
        num_factors: the number of factors in the second round.
        trim: the share that is left out, in [0, 1).

    References: Rousseeuw & Van Driessen (1999), A fast algorithm for the minimum covariance determinant estimator.
    """
    keep = torch.ones(len(x), dtype=torch.bool)
    count = max(2, round((1 - trim) * len(x)))
    for step in range(1 + _ROUNDS if trim else 0):
        surprise = _surprise(x, keep, num_reals, num_factors if step else 0)
        keep = torch.zeros_like(keep)
        keep[surprise.argsort(stable=True)[:count]] = True
    return keep


def _surprise(x: Tensor, keep: Tensor, num_reals: int, num_factors: int) -> Tensor:
    """-log p(x) of each row, `(N,)`, up to a constant, with parameters by the rows that are kept."""
    total = torch.zeros(len(x), dtype=torch.float64)
    reals = x[:, :num_reals].double()
    if num_reals and num_factors:
        few = reals[keep]
        total -= factor_analysis(few[:: -(-len(few) // _MOST_ROWS)], num_factors).log_evidence(reals)
    elif num_reals:
        spread = reals[keep].std(0, correction=0)
        total += 0.5 * ((reals - reals[keep].mean(0)) / torch.where(spread > 1e-6, spread, 1.0)).square().sum(1)
    for column in x[:, num_reals:].long().T:
        counts = one_hot(column[keep], int(column.max()) + 2).sum(0).double() + 1
        total -= (counts / counts.sum()).log()[column]
    return total
