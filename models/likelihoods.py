"""Likelihoods p(x | z). A likelihood is a module: `likelihood(params) -> p(x | params)`.

`params` is what the decoder emits, of shape `(*, *params_shape)`; the distribution has event shape
`event_shape`. Each likelihood owns its support: `check(x)` is called once, outside the hot path.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, Literal

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from pyrovae.errors import SupportError
from pyrovae.networks import Shape, as_shape, bounded_scale

__all__ = ["Bernoulli", "ContinuousBernoulli", "Likelihood", "Normal"]


class Likelihood(nn.Module, ABC):
    """The interface of p(x | params).

    Args:
        event_shape: shape of one datum, `(1, 28, 28)` or `30`.
    """

    params_per_entry = 1

    def __init__(self, event_shape: Shape) -> None:
        super().__init__()
        self.event_shape = as_shape(event_shape)

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must emit: `event_shape`, its first dimension times the parameters per entry."""
        first, *rest = self.event_shape
        return (self.params_per_entry * first, *rest)

    @abstractmethod
    def forward(self, params: Tensor) -> TorchDistribution:
        """p(x | params), event shape `event_shape`."""

    @abstractmethod
    def start(self, mean: Tensor) -> Tensor:
        """Parameters `(*params_shape)` at which training starts: those of data with that mean `(*event_shape)`."""

    @abstractmethod
    def check(self, x: Tensor) -> None:
        """Raise SupportError where `x` has no density here."""

    def extra_repr(self) -> str:
        return f"{self.event_shape}"


def _between(x: Tensor, low: float, high: float, wants: str, instead: str) -> None:
    least, most = x.min().item(), x.max().item()
    if not (low <= least and most <= high):
        raise SupportError(f"{wants}, got values from {least:.3g} to {most:.3g} at site 'x'. {instead}")


class Bernoulli(Likelihood):
    """p(x | z) = prod_i sigmoid(l_i)^x_i (1 - sigmoid(l_i))^(1 - x_i), the decoder emits the logits l.

    Args:
        event_shape: shape of one datum.
        relaxed: score grey levels in [0, 1] by the same formula, as tutorials do. That is a cross-entropy,
            not a density: its "ELBO" bounds nothing and compares only with other relaxed ones.

    Raises:
        SupportError: in `check`, x outside {0, 1} (outside [0, 1] when relaxed).

    References: Kingma & Welling (2014), arXiv:1312.6114, appendix C.1.
    """

    def __init__(self, event_shape: Shape, *, relaxed: bool = False) -> None:
        super().__init__(event_shape)
        self.relaxed = relaxed

    def forward(self, params: Tensor) -> TorchDistribution:
        bernoulli = _RelaxedBernoulli if self.relaxed else dist.Bernoulli
        return bernoulli(logits=params).to_event(len(self.event_shape))

    def start(self, mean: Tensor) -> Tensor:
        return mean.clamp(0.01, 0.99).logit()

    def extra_repr(self) -> str:
        return super().extra_repr() + (", relaxed=True" if self.relaxed else "")

    def check(self, x: Tensor) -> None:
        grey = "Scale it to [0, 1] (pyrovae.data.Scale())."
        _between(x, 0.0, 1.0, "likelihood Bernoulli wants x in " + ("[0, 1]" if self.relaxed else "{0, 1}"), grey)
        between = x[(x > 0) & (x < 1)]
        if len(between) and not self.relaxed:
            raise SupportError(
                f"likelihood Bernoulli wants x in {{0, 1}}, got grey values up to {between.max().item():.3g} at "
                "site 'x'. Binarise the data (pyrovae.data.Binarize()), use ContinuousBernoulli(), or ask for "
                "the tutorials' cross-entropy with Bernoulli(..., relaxed=True)."
            )


class _RelaxedBernoulli(dist.Bernoulli):
    """The Bernoulli's formula at grey levels."""

    support = constraints.unit_interval


class ContinuousBernoulli(Likelihood):
    """p(x | z) = prod_i C(l_i) sigmoid(l_i)^x_i (1 - sigmoid(l_i))^(1 - x_i) on [0, 1], with its normaliser C.

    The decoder emits the logits l, shape `event_shape`.

    Raises:
        SupportError: in `check`, x outside [0, 1].

    References: Loaiza-Ganem & Cunningham (2019), arXiv:1907.06845.
    """

    def forward(self, params: Tensor) -> TorchDistribution:
        return _ContinuousBernoulli(params).to_event(len(self.event_shape))

    def start(self, mean: Tensor) -> Tensor:
        wanted = mean.double().clamp(0.01, 0.99)
        low, high = torch.full_like(wanted, -128), torch.full_like(wanted, 128)
        for _ in range(64):  # the mean rises with the logit, but has no inverse in closed form
            middle = (low + high) / 2
            below = _ContinuousBernoulli(middle).mean < wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return low.to(mean.dtype)

    def check(self, x: Tensor) -> None:
        scale = "Scale it to [0, 1] (pyrovae.data.Scale()) or use Normal()."
        _between(x, 0.0, 1.0, "likelihood ContinuousBernoulli wants x in [0, 1]", scale)


class _ContinuousBernoulli(TorchDistribution):
    """The continuous Bernoulli by its logits l, with h = l / 2: C = 2 h coth h, mean 1/2 + (coth h - 1/h) / 2.

    torch's goes by the probability, which it clamps: in float32 its density integrates to e^0.2 at |l| = 20 and
    to e^0.6 at 30, where the black and the white pixels of a trained decoder are.
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
        # The inverse distribution function for l < 0, mirrored for l > 0.
        slope = -self.logits.abs().clamp_min(1e-6)
        draw = ((u * slope.expm1()).log1p() / slope).clamp(0, 1)
        return torch.where(self.logits < 0, draw, 1 - draw)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        log_normaliser = math.log(2) + _h_coth_h_minus_1(self.logits / 2).log1p()
        return value * self.logits - nn.functional.softplus(self.logits) + log_normaliser


def _h_coth_h_minus_1(h: Tensor) -> Tensor:
    """h coth h - 1, by its series near 0, where the formula cancels."""
    near = h.abs() < 0.5
    q = torch.where(near, h, 0).square()
    series = q * (1 / 3 - q * (1 / 45 - q * (2 / 945 - q * (1 / 4725 - q * 2 / 93555))))
    far = torch.where(near, 1, h)
    return torch.where(near, series, far / far.tanh() - 1)


class Normal(Likelihood):
    """p(x | z) = prod_i Normal(x_i; loc_i, scale_i).

    Args:
        event_shape: shape of one datum.
        scale: a number (fixed), `"learned"` (one parameter, the same for all entries), or `"predicted"` (the
            decoder emits it per entry: params are loc and raw scale, stacked along the first event dimension).

    Raises:
        SupportError: in `check`, x that is not finite.
    """

    scale: Tensor

    def __init__(self, event_shape: Shape, scale: float | Literal["learned", "predicted"] = "learned") -> None:
        super().__init__(event_shape)
        self.kind = scale if isinstance(scale, str) else "fixed"
        if self.kind == "learned":
            self.raw_scale = nn.Parameter(torch.zeros(()))
        elif self.kind == "predicted":
            self.params_per_entry = 2
        elif not isinstance(scale, str) and float(scale) > 0:
            self.register_buffer("scale", torch.tensor(float(scale)))
        else:
            raise SupportError(f"Normal wants scale > 0, 'learned' or 'predicted', got {scale!r}.")

    def forward(self, params: Tensor) -> TorchDistribution:
        if self.kind == "predicted":
            loc, raw = params.chunk(2, dim=-len(self.event_shape))
            return dist.Normal(loc, bounded_scale(raw)).to_event(len(self.event_shape))
        scale = bounded_scale(self.raw_scale) if self.kind == "learned" else self.scale
        return dist.Normal(params, scale).to_event(len(self.event_shape))

    def start(self, mean: Tensor) -> Tensor:
        return torch.cat([mean, torch.zeros_like(mean)]) if self.kind == "predicted" else mean

    def extra_repr(self) -> str:
        return f"{self.event_shape}, scale={f'{self.scale.item():g}' if self.kind == 'fixed' else repr(self.kind)}"

    def check(self, x: Tensor) -> None:
        if not x.isfinite().all():
            raise SupportError("likelihood Normal wants finite x, got NaN or infinity at site 'x'. Drop those rows.")
