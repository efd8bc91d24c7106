"""Likelihoods of counts: Poisson and negative binomial."""

import math
from typing import Literal

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from pyrovae.errors import SupportError
from pyrovae.models.likelihoods.likelihood import Likelihood, require_integers
from pyrovae.networks.shape import Shape
from pyrovae.numeric import bounded_scale, raw_scale, wide

__all__ = ["NegativeBinomial", "Poisson"]

_BOUND = 15.0  # rates lie between e^-15 and e^15, about 3 million
_DISPERSION_BOUND = 18.0  # at r = e^17 the variance of counts near 3 million is within 14 % of a Poisson's


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
        return _Poisson(bounded_scale(params, _BOUND)).to_event(len(self.event_shape))

    def start(self, x: Tensor) -> Tensor:
        return _start(self.rows(x).mean(0))

    def check(self, x: Tensor) -> None:
        _require_counts(x, "Poisson")


class NegativeBinomial(Likelihood):
    """p(x | z) = prod_i NegativeBinomial(x_i; mean_i, r_i): counts of variance mean + mean^2 / r.

    p(x) = Gamma(x + r) / (Gamma(r) x!) (r / (r + mean))^r (mean / (r + mean))^x. The decoder emits l, about the
    logarithm of the mean: mean = exp(15 tanh(l / 15)). A Poisson is the limit of large r; here r is at most e^18.

    Args:
        event_shape: shape of one data point.
        dispersion: `"learned"`, one parameter r per entry, or `"predicted"`: the decoder emits l and raw r, stacked
            along the first event dimension.

    Raises:
        SupportError: `dispersion` is neither; in `check`, x is not a count.

    References: Lopez et al. (2018), Deep generative modeling for single-cell transcriptomics.
    """

    def __init__(self, event_shape: Shape, dispersion: Literal["learned", "predicted"] = "learned") -> None:
        if dispersion not in ("learned", "predicted"):
            raise SupportError(f"NegativeBinomial requires dispersion 'learned' or 'predicted', got {dispersion!r}.")
        super().__init__(event_shape, 2 if dispersion == "predicted" else 1)
        self.dispersion = self.settings["dispersion"] = dispersion
        if dispersion == "learned":
            self.raw_dispersion = nn.Parameter(torch.zeros(self.event_shape))

    def forward(self, params: Tensor) -> TorchDistribution:
        raw_mean, raw = self.parts(params) if self.dispersion == "predicted" else (params, self.raw_dispersion)
        r = bounded_scale(raw, _DISPERSION_BOUND)
        logits = bounded_scale(raw_mean, _BOUND).log() - r.log()
        return _NegativeBinomial(r, logits=logits).to_event(len(self.event_shape))

    def start(self, x: Tensor) -> Tensor:
        x = self.rows(x)
        mean = x.mean(0)
        excess = x.var(0, correction=0) - mean if len(x) > 1 else mean.square()  # mean^2 / r; r = 1 for one data point
        raw = raw_scale(mean.square().clamp_min(1e-6) / excess.clamp_min(1e-6), _DISPERSION_BOUND)
        if self.dispersion == "learned":
            self.raw_dispersion.data.copy_(raw)
            return _start(mean)
        return torch.cat([_start(mean), raw])

    def check(self, x: Tensor) -> None:
        _require_counts(x, "NegativeBinomial")


class _Poisson(dist.Poisson):
    """The Poisson distribution, whose log-probabilities are computed in float64.

    At counts near a million the terms are millions of nats, and cancel: float32 would be off by a nat.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        rate, count = wide(self.rate), wide(value)
        return (count.xlogy(rate) - rate - (count + 1).lgamma()).to(self.rate.dtype)


class _NegativeBinomial(dist.NegativeBinomial):
    """The negative binomial distribution, whose log-probabilities are computed in float64: see `_Poisson`."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        r, logits, count = wide(self.total_count), wide(self.logits), wide(value)
        log_prob = r * logsigmoid(-logits) + count * logsigmoid(logits)
        return (log_prob + (r + count).lgamma() - (count + 1).lgamma() - r.lgamma()).to(self.logits.dtype)


def _start(mean: Tensor) -> Tensor:
    return raw_scale(mean.clamp_min(1e-2), _BOUND)


def _require_counts(x: Tensor, name: str) -> None:
    instead = "Pass the raw counts, not scaled and not as logarithms, or use LogNormal() for positive numbers."
    require_integers(x, math.inf, f"likelihood {name} requires x in {{0, 1, 2, ...}}", instead)
    if not x.isfinite().all():
        raise SupportError(f"likelihood {name} requires finite counts, got infinity at site 'x'. Drop those rows.")
