"""Sums of importance weights over chunks of draws: the estimate of log p(x), its error, the effective sample size."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.numeric import wide

__all__ = ["WeightSums", "standard_error"]


class WeightSums(NamedTuple):
    """log sum_s w_s and log sum_s w_s^2 over S draws for each of B data points, in float64.

    Attributes:
        logs: the two sums, `(2, B)`.
        count: S, the number of draws.
    """

    logs: Tensor
    num_samples: int

    @classmethod
    def of(cls, log_weight: Tensor) -> "WeightSums":
        """The sums over the draws.

        Args:
            log_weight: log w, of shape `(S, B)`.
        """
        log_weight = wide(log_weight)
        return cls(torch.stack([log_weight.logsumexp(0), (2 * log_weight).logsumexp(0)]), len(log_weight))

    def merge(self, other: "WeightSums") -> "WeightSums":
        """The sums over the draws of two chunks.

        Args:
            other: the sums over further draws for the same data points.
        """
        return WeightSums(torch.logaddexp(self.logs, other.logs), self.num_samples + other.num_samples)

    @property
    def log_sum(self) -> Tensor:
        """log sum_s w_s, `(B,)`."""
        return self.logs[0]

    @property
    def log_mean(self) -> Tensor:
        """log 1/S sum_s w_s, the importance-sampled estimate of log p(x), `(B,)`."""
        return self.logs[0] - math.log(self.num_samples)

    @property
    def log_mean_error(self) -> Tensor:
        """The standard error of `log_mean` by the delta method, `(B,)`: sqrt((S sum w^2 / (sum w)^2 - 1) / (S - 1)).

        It is NaN for one draw, which shows no spread. It is at most 1, also where the estimate is further off: a large
        k-hat of the weights says that it cannot be trusted.
        """
        log_mean, log_square = self.logs - math.log(self.num_samples)
        variance = (log_square - 2 * log_mean).exp() - 1
        return standard_error(variance, self.num_samples)

    @property
    def effective_sample_size(self) -> Tensor:
        """(sum w)^2 / sum w^2, `(B,)`, between 1 and S. Kong (1992)."""
        return (2 * self.logs[0] - self.logs[1]).exp()


def standard_error(variance: Tensor, num_samples: int) -> Tensor:
    """The standard error of a mean over draws; NaN for one draw, which shows no spread.

    Args:
        variance: the mean over the draws of the squared distance to the mean, up to rounding.
        num_samples: the number of draws.
    """
    if num_samples < 2:
        return torch.full_like(variance, math.nan)
    return (variance.clamp_min(0) / (num_samples - 1)).sqrt()
