"""Likelihoods of entries with finitely many values: unordered (categorical) and ordered (ordinal)."""

from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, one_hot

from pyrovae.checks import check_count
from pyrovae.models.likelihoods.likelihood import Likelihood, require_integers
from pyrovae.networks.shape import Shape
from pyrovae.numeric import bounded_scale, log1mexp, raw_scale

__all__ = ["Categorical", "Ordinal"]


class Categorical(Likelihood):
    """p(x | z) = prod_i softmax(l_i)_(x_i), for x in {0, ..., values - 1}, as floats or int64.

    The decoder emits `values` logits l_i per entry, stacked along the first event dimension. The mean is
    sum_v v p(v), which is meaningful only where the values are ordered, as grey levels are.

    Args:
        event_shape: shape of one data point.
        values: the number of values that an entry may have, at least 2.

    Raises:
        SettingError: `values` is below 2.
        SupportError: in `check`, x is not one of the values.
    """

    def __init__(self, event_shape: Shape, values: int) -> None:
        super().__init__(event_shape, _at_least_2(values))
        self.values = self.settings["values"] = values

    def forward(self, params: Tensor) -> TorchDistribution:
        logits = torch.stack(self.parts(params), -1)
        return _Categorical(logits=logits).to_event(len(self.event_shape))

    def start(self, x: Tensor) -> Tensor:
        return torch.cat(_frequencies(self.rows(x), self.values).log().unbind(-1))

    def check(self, x: Tensor) -> None:
        _require_values(x, self.values, "Categorical")


class Ordinal(Likelihood):
    """P(x_i <= v | z) = sigmoid(t_iv - h_i): cumulative logits, for ordered x in {0, ..., values - 1}.

    The decoder emits h, of shape `event_shape`; the thresholds t_i0 < t_i1 < ... are learned, `values - 1` per entry.
    A larger h moves probability to larger values. x may be floats or int64.

    Args:
        event_shape: shape of one data point.
        values: the number of values that an entry may have, at least 2.

    Raises:
        SettingError: `values` is below 2.
        SupportError: in `check`, x is not one of the values.

    References: McCullagh (1980), Regression models for ordinal data.
    """

    def __init__(self, event_shape: Shape, values: int) -> None:
        super().__init__(event_shape)
        self.values = self.settings["values"] = _at_least_2(values)
        self.raw_thresholds = nn.Parameter(torch.zeros(*self.event_shape, values - 1))  # the first, then raw gaps

    def forward(self, params: Tensor) -> TorchDistribution:
        first, raw_gaps = self.raw_thresholds.split([1, self.values - 2], -1)
        gaps = bounded_scale(raw_gaps)
        below = torch.cat([first, gaps], -1).cumsum(-1) - params.unsqueeze(-1)
        upper, lower = logsigmoid(below), logsigmoid(-below)
        # As in DiscretizedLogistic, sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - e^(a - b)).
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
        _require_values(x, self.values, "Ordinal")


def _at_least_2(values: int) -> int:
    return check_count("values", values, 2, write="int(x.max()) + 1")


def _require_values(x: Tensor, values: int, name: str) -> None:
    instead = f"Number the values from 0, or write {name}(..., values=int(x.max()) + 1)."
    require_integers(x, values - 1, f"likelihood {name} requires x in {{0, ..., {values - 1}}}", instead)


def _frequencies(x: Tensor, values: int) -> Tensor:
    """The frequency of each value at each entry, `(*event_shape, values)`, with one added to every count."""
    counts = one_hot(x.long(), values).sum(0).to(x.dtype) + 1
    return counts / counts.sum(-1, keepdim=True)


class _Categorical(dist.Categorical):
    """A categorical distribution of numbers: it has a mean, and its draws are floats, as data are."""

    @property
    def mean(self) -> Tensor:
        values = torch.arange(self.probs.shape[-1], dtype=self.probs.dtype, device=self.probs.device)
        return (self.probs * values).sum(-1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return super().sample(sample_shape).to(self.logits.dtype)
