"""Central intervals of draws, and how often they cover the truth."""

import math

import torch
from torch import Tensor

from pyrovae.checks import check_fraction, check_seed, check_tensor
from pyrovae.errors import DataError, ShapeError
from pyrovae.inference.evidence.estimates import Estimate

__all__ = ["coverage", "interval"]


def interval(draws: Tensor, level: float = 0.9) -> tuple[Tensor, Tensor]:
    """The lower and upper ends, `(N, *event)` each, of the central interval of draws.

    They are the k-th smallest and the k-th largest draw, k = floor((S + 1) (1 - level) / 2). One more draw from the
    same distribution lies between them with probability 1 - 2k / (S + 1). This is `level` exactly where
    (S + 1) (1 - level) / 2 is a whole number: S = 19, 39, ... 99, 199 at 0.9.

    Args:
        draws: S draws, `(S, N, *event)`.
        level: the probability of the interval, in (0, 1).

    Raises:
        DataError: NaN among the draws.
        SettingError: a level outside (0, 1).
        ShapeError: too few draws for the level.
    """
    draws = check_tensor("draws", draws, "(S, N, *event)", least_dims=1)
    k = _tail(draws, level)
    ordered = draws.sort(0).values
    return ordered[k - 1], ordered[len(draws) - k]


def coverage(
    draws: Tensor, truth: Tensor, level: float = 0.9, *, where: Tensor | None = None, seed: int = 0
) -> Estimate:
    """The share of entries whose truth lies in the central interval of the draws, and its standard error.

    An entry is counted by the rank of the truth among the draws, r = (below + u (ties + 1)) / (S + 1), u uniform, so a
    tie counts in part. If truth and draws have the same distribution, continuous or discrete, r is uniform and the
    coverage is `level` exactly. An interval between quantiles would cover a binary pixel always or never.

    Args:
        draws: S draws, `(S, N, *event)`.
        truth: the true values, `(N, *event)`.
        level: the probability of the interval, in (0, 1).
        where: the entries to count, bool, of a shape that broadcasts to the truth; `~mask` for those that were
            missing; all if None.
        seed: the seed of u.

    Returns:
        The share, and its standard error over data points, whose entries may depend on each other.

    Raises:
        DataError: NaN among the draws, or in the truth of a counted entry.
        SettingError: a level outside (0, 1), or a seed that is no whole number from 0 to 2^32 - 1.
        ShapeError: shapes that do not match, too few draws for the level, or no entry to count.
    """
    draws, truth = (
        check_tensor("draws", draws, "(S, N, *event)", least_dims=2),
        check_tensor("truth", truth, "(N, *event)"),
    )
    _tail(draws, level)
    if draws.shape[1:] != truth.shape:
        raise ShapeError(
            f"coverage requires draws (S, *truth.shape), got {tuple(draws.shape)} and {tuple(truth.shape)}. Write "
            "coverage(imputations(model, guide, batch), x)."
        )
    counted = _counted(truth, where)
    if truth[counted].isnan().any():
        raise DataError(
            f"coverage requires a true value at each counted entry, got {int(truth[counted].isnan().sum())} NaN. Write "
            "where=~truth.isnan()."
        )
    if not counted.any():
        raise ShapeError("coverage requires an entry to count, got where=... that is False everywhere. Pass ~mask.")
    below, ties = (draws < truth).sum(0), (draws == truth).sum(0)
    generator = torch.Generator().manual_seed(check_seed("seed", seed))
    uniform = torch.rand(truth.shape, generator=generator).to(draws.device)
    rank = (below + uniform * (ties + 1)) / (len(draws) + 1)
    inside = (((rank - 0.5).abs() <= level / 2) & counted).double().reshape(len(truth), -1).sum(1)
    each = counted.double().reshape(len(truth), -1).sum(1)
    share = (inside.sum() / each.sum()).item()
    spread = (inside - share * each).square().sum().sqrt() / each.sum()
    return Estimate(share, spread.item())


def _counted(truth: Tensor, where: Tensor | None) -> Tensor:
    """The entries to count, bool `(N, *event)`."""
    if where is None:
        return torch.ones_like(truth, dtype=torch.bool)
    try:
        return check_tensor("where", where, "(N, *event), bool").bool().expand_as(truth)
    except RuntimeError:
        raise ShapeError(
            f"coverage requires where of a shape that broadcasts to the truth {tuple(truth.shape)}, got "
            f"{tuple(where.shape)}. Pass ~mask."
        ) from None


def _tail(draws: Tensor, level: float) -> int:
    """k, the number of draws from each end at which the interval ends."""
    level = check_fraction("level", level, ends=False, write=0.9)
    broken = int(draws.isnan().sum())
    if broken:
        raise DataError(f"an interval requires draws without NaN, got {broken} of {draws.numel()}. Drop those draws.")
    k = math.floor((len(draws) + 1) * (1 - level) / 2 + 1e-9)
    if k < 1:
        least = math.ceil(2 / (1 - level) - 1e-9) - 1
        raise ShapeError(
            f"an interval of level {level} requires at least {least} draws, got {len(draws)}. Write "
            f"imputations(..., {least})."
        )
    return k
