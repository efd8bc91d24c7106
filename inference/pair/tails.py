"""The tail of importance weights, kept over chunks of draws, and its Pareto index k-hat."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.numeric import wide

__all__ = ["FEWEST", "RARE", "UNTRUSTED", "Tail", "highest_khat", "tail_length"]

FEWEST = 21
"""The fewest draws whose tail, a fifth of them, is long enough for a fit."""

UNTRUSTED = 0.7
"""k-hat above which weights are unreliable: Vehtari et al. (2024)."""

RARE = 0.05
"""The share of the data points that may have such weights."""

NEGLIGIBLE = 0.01  # weights that differ by less than this, relatively, have no tail that matters
FITTED = 500  # data points fitted at once: bounds the memory of the grid


class Tail(NamedTuple):
    """The largest log-weights of S draws for each of B data points, in float64.

    Attributes:
        largest: the largest log-weights in descending order, `(K, B)`.
        least: the smallest log-weight, `(B,)`.
        longest: K at most.
    """

    largest: Tensor
    least: Tensor
    longest: int

    @classmethod
    def of(cls, log_weight: Tensor, num_samples: int) -> "Tail":
        """The tail of some draws.

        Args:
            log_weight: log w, of shape `(s, B)`, of all draws or of a chunk.
            num_samples: S, the number of all draws, at least 21.
        """
        longest = tail_length(num_samples) + 1
        log_weight = wide(log_weight)
        return cls(_largest(log_weight, longest), log_weight.amin(0), longest)

    def merge(self, other: "Tail") -> "Tail":
        """The tail of the draws of two chunks.

        Args:
            other: the tail of further draws for the same data points.
        """
        both = torch.cat([self.largest, other.largest])
        return Tail(_largest(both, self.longest), torch.minimum(self.least, other.least), self.longest)

    @property
    def khat(self) -> Tensor:
        """k-hat of each data point, `(B,)`: see `psis_khat`."""
        tail = (self.largest - self.largest[:1]).T.flip(-1)  # (B, K), ascending
        cutoff = tail[:, :1].clamp_min(math.log(torch.finfo(torch.float64).tiny))
        excess, lengths = tail[:, 1:].exp() - cutoff.exp(), (tail[:, 1:] > cutoff).sum(-1)
        khat = torch.full_like(cutoff[:, 0], math.inf)
        for length in lengths.unique().tolist():  # one length for all data points, unless weights are equal or vanish
            if length > 4:
                mine = (lengths == length).nonzero()[:, 0]
                khat[mine] = torch.cat([_pareto_shape(part) for part in excess[mine, -length:].split(FITTED)])
        khat[self.least - self.largest[0] > -NEGLIGIBLE] = 0.0
        return khat.nan_to_num(nan=math.inf, posinf=math.inf)


def highest_khat(num_samples: int) -> float:
    """The k-hat up to which S draws are enough for an interval, min(1 - 1 / log10 S, 0.7): Vehtari et al. (2024).

    Args:
        num_samples: S.
    """
    return min(1 - 1 / math.log10(num_samples), UNTRUSTED)


def tail_length(num_samples: int) -> int:
    """To how many of the largest weights k-hat is fitted: a fifth of the draws, or 3 sqrt(S) if that is less.

    Args:
        num_samples: S.
    """
    return math.ceil(min(num_samples / 5, 3 * math.sqrt(num_samples)))


def _largest(log_weight: Tensor, longest: int) -> Tensor:
    return log_weight.topk(min(longest, len(log_weight)), 0).values


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
