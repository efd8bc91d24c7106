"""The continuous Bernoulli likelihood of grey levels in [0, 1]."""

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from pyrovae.models.likelihoods.likelihood import Likelihood, require_between, unit_advice
from pyrovae.networks.shape import Shape

__all__ = ["ContinuousBernoulli"]


class ContinuousBernoulli(Likelihood):
    """p(x | z) = prod_i C(l_i) sigmoid(l_i)^x_i (1 - sigmoid(l_i))^(1 - x_i) for x in [0, 1], C the normaliser.

    The decoder emits the logits l, of shape `event_shape`.

    Args:
        event_shape: shape of one data point.

    Raises:
        SupportError: in `check`, x is outside [0, 1].

    References: Loaiza-Ganem & Cunningham (2019), arXiv:1907.06845.
    """

    def __init__(self, event_shape: Shape) -> None:
        super().__init__(event_shape)

    def forward(self, params: Tensor) -> TorchDistribution:
        return _ContinuousBernoulli(params).to_event(len(self.event_shape))

    def start(self, x: Tensor) -> Tensor:
        mean = self.rows(x).mean(0)
        wanted = mean.double().clamp(0.01, 0.99)
        low, high = torch.full_like(wanted, -128), torch.full_like(wanted, 128)
        for _ in range(64):  # bisection: the mean increases with the logit, but its inverse has no closed form
            middle = (low + high) / 2
            below = _ContinuousBernoulli(middle).mean < wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return low.to(mean.dtype)

    def check(self, x: Tensor) -> None:
        require_between(x, 0.0, 1.0, "likelihood ContinuousBernoulli requires x in [0, 1]", unit_advice(x, "Normal()"))


class _ContinuousBernoulli(TorchDistribution):
    """The continuous Bernoulli in terms of its logits l: with h = l / 2, C = 2 h coth h, mean 1/2 + (coth h - 1/h) / 2.

    torch's class computes with the probability, which it clamps. In float32 its density integrates to e^0.2 at
    |l| = 20 and to e^0.6 at 30, the logits of black and white pixels of a trained decoder.
    """

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_ContinuousBernoulli":
        return _ContinuousBernoulli(self.logits.expand(batch_shape), validate_args=self._validate_args)

    @property
    def mean(self) -> Tensor:
        nonzero = torch.where(self.logits.abs() < 1e-6, 1e-6, self.logits)
        return 0.5 + _h_coth_h_minus_1(nonzero / 2) / nonzero

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        u = torch.rand(self._extended_shape(sample_shape), dtype=self.logits.dtype, device=self.logits.device)
        # The inverse distribution function at -|l|; the draw is mirrored where l > 0.
        slope = -self.logits.abs().clamp_min(1e-6)
        draw = ((u * slope.expm1()).log1p() / slope).clamp(0, 1)
        return torch.where(self.logits < 0, draw, 1 - draw)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        log_normaliser = math.log(2) + _h_coth_h_minus_1(self.logits / 2).log1p()
        return value * self.logits - nn.functional.softplus(self.logits) + log_normaliser


def _h_coth_h_minus_1(h: Tensor) -> Tensor:
    """h coth h - 1, by its series near 0, where the terms of the formula cancel."""
    near = h.abs() < 0.5
    q = torch.where(near, h, 0).square()
    series = q * (1 / 3 - q * (1 / 45 - q * (2 / 945 - q * (1 / 4725 - q * 2 / 93555))))
    far = torch.where(near, 1, h)
    return torch.where(near, series, far / far.tanh() - 1)
