"""Likelihoods of counts: the Poisson; and what all of them require of data, and where their means start."""

import math

import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyrovae.errors import SupportError
from pyrovae.models.likelihoods.likelihood import Likelihood, require_integers
from pyrovae.networks.shape import Shape
from pyrovae.numeric import bounded_scale, raw_scale, wide

__all__ = ["MEAN_BOUND", "Poisson", "raw_mean", "require_counts"]

MEAN_BOUND = 15.0
"""Means lie between e^-15 and e^15, about 3 million."""


class Poisson(Likelihood):
    """p(x | z) = prod_i rate_i^x_i e^(-rate_i) / x_i!, for x in {0, 1, 2, ...}.

    The decoder emits l of shape `event_shape`, about the logarithm of the rate: rate = exp(15 tanh(l / 15)).

    Args:
        event_shape: shape of one data point.

    Raises:
        SupportError: in `check`, x is not a count.
    """

    def __init__(self, event_shape: Shape) -> None:
        super().__init__(event_shape)

    def forward(self, params: Tensor) -> TorchDistribution:
        return _Poisson(bounded_scale(params, MEAN_BOUND)).to_event(len(self.event_shape))

    def start(self, x: Tensor) -> Tensor:
        return raw_mean(self.rows(x).mean(0))

    def check(self, x: Tensor) -> None:
        require_counts(x, "Poisson")


class _Poisson(dist.Poisson):
    """The Poisson distribution, whose log-probabilities are computed in float64.

    At counts near a million the terms are millions of nats, and cancel: float32 would be off by a nat.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        rate, count = wide(self.rate), wide(value)
        return (count.xlogy(rate) - rate - (count + 1).lgamma()).to(self.rate.dtype)


def raw_mean(mean: Tensor) -> Tensor:
    """What a decoder emits for a mean, which is raised to at least 0.01.

    Args:
        mean: means of any shape.
    """
    return raw_scale(mean.clamp_min(1e-2), MEAN_BOUND)


def require_counts(x: Tensor, name: str) -> None:
    """Raise SupportError where `x` is not one of 0, 1, 2, ....

    Args:
        x: data of any shape.
        name: the name of the likelihood, for the message.
    """
    instead = "Pass the raw counts, not scaled and not as logarithms, or use LogNormal() for positive numbers."
    require_integers(x, math.inf, f"likelihood {name} requires x in {{0, 1, 2, ...}}", instead)
    if not x.isfinite().all():
        raise SupportError(f"likelihood {name} requires finite counts, got infinity at site 'x'. Drop those rows.")
