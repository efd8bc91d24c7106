"""Ranks of a simulated value among draws: how they are computed, and tests of whether they are uniform."""

import torch
from torch import Tensor

__all__ = ["PER_BIN", "central_share", "chi_square_p_values", "nearest_share", "ranks_among", "smooth_p_value"]

MOST_BINS = 20
ORDER = 4  # polynomials of the smooth test: mean, variance, skewness and kurtosis of the ranks

PER_BIN = 5
"""Expected ranks in a bin; with fewer the chi-square approximation fails."""


def ranks_among(draws: Tensor, truth: Tensor) -> Tensor:
    """The number of draws below the truth, plus a random number of those equal to it, int64 `(B, *)`.

    Args:
        draws: `(L, B, *)`.
        truth: `(B, *)`.
    """
    equal = (draws == truth).sum(0)
    return (draws < truth).sum(0) + (torch.rand(equal.shape, device=equal.device) * (equal + 1)).long()


def chi_square_p_values(ranks: Tensor, num_samples: int) -> Tensor:
    """p-values of the chi-square test that each column is uniform on {0 ... L}, `(D,)`.

    Args:
        ranks: `(N, D)`.
        num_samples: L.
    """
    levels, most = num_samples + 1, min(MOST_BINS, len(ranks) // PER_BIN)
    bins = max(b for b in range(1, most + 1) if levels % b == 0)
    if bins < 2:  # the number of ranks is prime, so the bins differ in width
        bins = min(most, levels)
    edges = torch.arange(levels) * bins // levels
    expected = len(ranks) * edges.bincount(minlength=bins).double() / levels
    counts = torch.stack([(edges[ranks] == b).sum(0) for b in range(bins)]).double()
    statistic = ((counts - expected[:, None]).square() / expected[:, None]).sum(0)
    return torch.special.gammaincc(torch.full_like(statistic, (bins - 1) / 2), statistic / 2)


def smooth_p_value(ranks: Tensor, num_samples: int) -> float:
    """The p-value of Neyman's smooth test that ranks are uniform on {0 ... L}.

    The statistic is N sum_k (1/N sum_n phi_k(rank_n))^2 over the first four polynomials phi_k that are orthonormal on
    the L + 1 ranks. It is nearly chi-square with four degrees of freedom, and has more power than bins against ranks
    that lean, spread, or gather.

    Args:
        ranks: `(N,)`.
        num_samples: L.

    References: Neyman (1937), Smooth test for goodness of fit; Rayner & Best (1989), Smooth tests of goodness of fit.
    """
    levels, order = num_samples + 1, min(ORDER, num_samples)
    points = torch.linspace(-1, 1, levels, dtype=torch.float64)
    powers = points[:, None] ** torch.arange(order + 1)
    basis = torch.linalg.qr(powers).Q[:, 1:] * levels**0.5
    statistic = basis[ranks.cpu()].mean(0).square().sum() * len(ranks)
    return torch.special.gammaincc(torch.tensor(order / 2, dtype=torch.float64), statistic / 2).item()


def central_share(ranks: Tensor, num_samples: int, level: float) -> Tensor:
    """The share of ranks in the central interval of some level, over the leading dimension: the coverage of intervals.

    Args:
        ranks: `(N, *)`.
        num_samples: L.
        level: the share of uniform ranks in it, from 0 to 1.
    """
    off = (2 * ranks.double() - num_samples).abs() / (num_samples + 1)
    return _share(off, level)


def nearest_share(ranks: Tensor, num_samples: int, level: float) -> Tensor:
    """The share of ranks among the lowest of some level, over the leading dimension.

    Args:
        ranks: `(N, *)`.
        num_samples: L.
        level: the share of uniform ranks among them, from 0 to 1.
    """
    return _share((ranks.double() + 0.5) / (num_samples + 1), level)


def _share(parts: Tensor, level: float) -> Tensor:
    return (parts < level).double().mean(0)
