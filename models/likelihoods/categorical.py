"""Likelihoods of a finite number of values at each entry: unordered and ordered ones."""

from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, one_hot

from pyrovae.errors import SupportError
from pyrovae.models.likelihoods.discretized_logistic import log1mexp
from pyrovae.models.likelihoods.likelihood import Likelihood, raw_scale, wants_integers
from pyrovae.networks.shape import Shape
from pyrovae.numeric import bounded_scale

__all__ = ["Categorical", "Ordinal"]


class Categorical(Likelihood):
    """p(x | z) = prod_i softmax(l_i)_(x_i), x in {0, ..., values - 1}, as floats or int64.

    The decoder emits `values` logits per entry, stacked along the first event dimension. The mean is
    sum_v v p(v): it says something where the values are ordered, as grey levels are; otherwise look at draws.

    Args:
        event_shape: shape of one datum.
        values: how many values an entry may have.

    Raises:
        SupportError: in `check`, x that is none of them.
    """

    def __init__(self, event_shape: Shape, values: int) -> None:
        super().__init__(event_shape)
        self.params_per_entry = self.values = _at_least_2(values, "Categorical")

    def forward(self, params: Tensor) -> TorchDistribution:
        logits = torch.stack(self.parts(params), -1)
        return _Categorical(logits=logits).to_event(len(self.event_shape))

    def start(self, x: Tensor) -> Tensor:
        return torch.cat(_frequencies(self.rows(x), self.values).log().unbind(-1))

    def check(self, x: Tensor) -> None:
        _wants_values(x, self.values, "Categorical")

    def extra_repr(self) -> str:
        return f"{self.event_shape}, values={self.values}"


class Ordinal(Likelihood):
    """P(x_i <= v | z) = sigmoid(t_iv - h_i): cumulative logits, for x in {0, ..., values - 1} that have an order.

    The decoder emits h, shape `event_shape`; the thresholds t_i0 < t_i1 < ... are learned, `values - 1` per entry.
    A larger h moves mass to larger values. x may be floats or int64.

    Args:
        event_shape: shape of one datum.
        values: how many values an entry may have.

    Raises:
        SupportError: in `check`, x that is none of them.

    References: McCullagh (1980), Regression models for ordinal data.
    """

    def __init__(self, event_shape: Shape, values: int) -> None:
        super().__init__(event_shape)
        self.values = _at_least_2(values, "Ordinal")
        self.raw_thresholds = nn.Parameter(torch.zeros(*self.event_shape, values - 1))  # the first, then raw gaps

    def forward(self, params: Tensor) -> TorchDistribution:
        first, raw_gaps = self.raw_thresholds.split([1, self.values - 2], -1)
        gaps = bounded_scale(raw_gaps)
        below = torch.cat([first, gaps], -1).cumsum(-1) - params.unsqueeze(-1)
        upper, lower = logsigmoid(below), logsigmoid(-below)
        # As in _DiscretizedLogistic: sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - e^(a - b)).
        inner = upper[..., 1:] + lower[..., :-1] + log1mexp(gaps)
        log_masses = torch.cat([upper[..., :1], inner, lower[..., -1:]], -1)
        return _Categorical(logits=log_masses).to_event(len(self.event_shape))

    def start(self, x: Tensor) -> Tensor:
        x = self.rows(x)
        thresholds = _frequencies(x, self.values).cumsum(-1)[..., :-1].logit()
        raw_gaps = raw_scale(thresholds.diff(dim=-1))
        self.raw_thresholds.data.copy_(torch.cat([thresholds[..., :1], raw_gaps], -1))
        return torch.zeros_like(x[0])

    def check(self, x: Tensor) -> None:
        _wants_values(x, self.values, "Ordinal")

    def extra_repr(self) -> str:
        return f"{self.event_shape}, values={self.values}"


def _at_least_2(values: int, name: str) -> int:
    if values < 2:
        raise SupportError(f"{name} wants values >= 2, got {values}. Write values=int(x.max()) + 1.")
    return values


def _wants_values(x: Tensor, values: int, name: str) -> None:
    instead = f"Number the values from 0, or write {name}(..., values=int(x.max()) + 1)."
    wants_integers(x, values - 1, f"likelihood {name} wants x in {{0, ..., {values - 1}}}", instead)


def _frequencies(x: Tensor, values: int) -> Tensor:
    """How often each entry has each value, `(*event_shape, values)`, as if each had been seen once more."""
    counts = one_hot(x.long(), values).sum(0).to(x.dtype) + 1
    return counts / counts.sum(-1, keepdim=True)


class _Categorical(dist.Categorical):
    """A categorical whose values are numbers: draws are floats like the data, and there is a mean."""

    @property
    def mean(self) -> Tensor:
        values = torch.arange(self.probs.shape[-1], dtype=self.probs.dtype, device=self.probs.device)
        return (self.probs * values).sum(-1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return super().sample(sample_shape).to(self.logits.dtype)
