"""Likelihoods of overdispersed counts: the negative binomial, and the zero-inflated one."""

from abc import abstractmethod
from typing import Any, Literal

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyrovae.checks import check_count
from pyrovae.errors import PairError, ShapeError, SupportError
from pyrovae.models.likelihoods.counts import MEAN_BOUND, raw_mean, require_counts
from pyrovae.models.likelihoods.likelihood import Likelihood
from pyrovae.networks.joint import one_hot
from pyrovae.networks.shape import Shape
from pyrovae.numeric import log_binomial, raw_scale, wide

__all__ = ["Dispersion", "NegativeBinomial", "OverdispersedCounts", "ZeroInflatedNegativeBinomial"]

DISPERSION_BOUND = 18.0
"""At r = e^17 the variance of counts near 3 million is within 14 % of a Poisson's."""

Dispersion = Literal["learned", "predicted"]
"""How counts get their inverse dispersion r: one parameter per entry, or emitted per entry by the decoder."""


class OverdispersedCounts(Likelihood):
    """The interface of counts with a mean and an inverse dispersion r per entry, of variance mean + mean^2 / r.

    The decoder emits l, about the logarithm of the mean: mean = exp(15 tanh(l / 15)). Where x are the parts of a total,
    such as the molecules of each gene among all of a cell, the decoder emits the logits of the shares instead:
    mean = total softmax(l), and the likelihood is called with the total. A `"predicted"` raw r is stacked behind l
    along the first event dimension.

    Args:
        event_shape: shape of one data point.
        dispersion: `"learned"`, one parameter r per entry, or `"predicted"`, emitted by the decoder.
        shares: whether the decoder emits shares of a total; x has the shape `(G,)` then.
        batches: K for a learned r per entry and batch, which the likelihood is called with; 0 for one of all batches.
        gates: how many further parameters the decoder emits for each entry, 1 for zero-inflated counts.

    Raises:
        SupportError: `dispersion` is neither; in `check`, x is not a count, or with `shares`, a data point has none.
        SettingError: `batches` is no count.
        ShapeError: shares of several dimensions.
        PairError: `batches` with a predicted dispersion; in a call, the total or the batch is missing.
    """

    def __init__(self, event_shape: Shape, dispersion: Dispersion, shares: bool, batches: int, gates: int) -> None:
        name = type(self).__name__
        if dispersion not in ("learned", "predicted"):
            raise SupportError(f"{name} requires dispersion 'learned' or 'predicted', got {dispersion!r}.")
        super().__init__(event_shape, 1 + gates + (dispersion == "predicted"))
        self.batches = check_count("batches", batches, 0)
        if batches and dispersion == "predicted":
            raise PairError(
                f"{name} requires a learned dispersion for batches={batches}, got 'predicted', which the decoder may "
                "emit by batch. Leave batches out."
            )
        if shares and len(self.event_shape) != 1:
            raise ShapeError(f"{name} requires the shape (G,) for shares, got {self.event_shape}. Flatten x.")
        self.dispersion, self.shares = dispersion, shares
        self.settings |= {"dispersion": dispersion, **({"shares": True} if shares else {})}
        self.settings |= {"batches": batches} if batches else {}
        if dispersion == "learned":
            self.raw_dispersion = nn.Parameter(torch.zeros((batches,) * bool(batches) + self.event_shape))

    def forward(self, params: Tensor, total: Tensor | None = None, batch: Tensor | None = None) -> TorchDistribution:
        """p(x | params, total, batch), event shape `event_shape`.

        Args:
            params: `(*, *params_shape)`, what the decoder emits.
            total: `(*,)`, with `shares`: the total that they are shares of.
            batch: int64 `(*,)`, with `batches`: the batch of each data point.
        """
        raw, *others = self.parts(params)
        log_r = _log_bounded(others.pop(0) if self.dispersion == "predicted" else self._raw_r(batch), DISPERSION_BOUND)
        counts = _NegativeBinomial(log_r.exp(), self._log_mean(raw, total) - log_r)
        return self.member(counts, *others).to_event(len(self.event_shape))

    @abstractmethod
    def member(self, counts: dist.NegativeBinomial, *gates: Tensor) -> TorchDistribution:
        """The distribution of one entry, event shape ().

        Args:
            counts: the negative binomial.
            gates: the further parameters, each `(*, *event_shape)`.
        """

    def _log_mean(self, raw: Tensor, total: Tensor | None) -> Tensor:
        if not self.shares:
            return _log_bounded(raw, MEAN_BOUND)
        if total is None:
            raise PairError(
                f"{type(self).__name__} with shares requires the total of each data point, got none. Write "
                "{'x': x, 'total': x.sum(-1)} and models.CountVAE."
            )
        return total.unsqueeze(-1).log() + raw.log_softmax(-1)

    def _raw_r(self, batch: Tensor | None) -> Tensor:
        if not self.batches:
            return self.raw_dispersion
        if batch is None:
            raise PairError(
                f"{type(self).__name__} with batches={self.batches} requires the batch of each data point, got none. "
                "Write {'x': x, 'batch': batch} and models.CountVAE, or leave batches out."
            )
        rows = one_hot(batch, self.batches, self.raw_dispersion.dtype) @ self.raw_dispersion.flatten(1)
        return rows.unflatten(-1, self.event_shape)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What fits data `(N, *event_shape)` without z: l, raw r, and the mean of each count `(N or 1, *event_shape)`.

        A learned r is set. A single data point has no spread, so its r is 1.
        """
        x = self.rows(x)
        mean = x.mean(0)
        fitted = x.sum(-1, keepdim=True) / x.sum().clamp_min(1) * x.sum(0) if self.shares else mean.unsqueeze(0)
        spread = (x - fitted).square().mean(0) if self.shares else x.var(0, correction=0)
        excess = spread - mean if len(x) > 1 else mean.square()  # mean^2 / r
        square = fitted.square().mean(0) if self.shares else mean.square()
        raw = raw_scale(square.clamp_min(1e-6) / excess.clamp_min(1e-6), DISPERSION_BOUND)
        if self.dispersion == "learned":
            self.raw_dispersion.data.copy_(raw)
        return mean.clamp_min(1e-2).log() if self.shares else raw_mean(mean), raw, fitted

    def check(self, x: Tensor) -> None:
        require_counts(x, type(self).__name__)
        if self.shares and (empty := (x.flatten(-len(self.event_shape)).sum(-1) <= 0)).any():
            raise SupportError(
                f"likelihood {type(self).__name__} with shares requires a count in each data point, got "
                f"{int(empty.sum())} of {empty.numel()} data points without any at site 'x'. Write x[x.sum(-1) > 0]."
            )


class NegativeBinomial(OverdispersedCounts):
    """p(x | z) = prod_i NegativeBinomial(x_i; mean_i, r_i): counts of variance mean + mean^2 / r.

    p(x) = Gamma(x + r) / (Gamma(r) x!) (r / (r + mean))^r (mean / (r + mean))^x. The decoder emits l, about the
    logarithm of the mean: mean = exp(15 tanh(l / 15)); or with `shares`, mean = total softmax(l). A Poisson is the
    limit of large r; here r is at most e^18.

    Args:
        event_shape: shape of one data point.
        dispersion: `"learned"`, one parameter r per entry, or `"predicted"`: the decoder emits l and raw r, stacked
            along the first event dimension.
        shares: whether the decoder emits the logits of shares of a total, as in `models.CountVAE`.
        batches: K for a learned r per entry and batch; 0 for one of all batches.

    Raises:
        SupportError, SettingError, ShapeError, PairError: as for `OverdispersedCounts`.

    References: Lopez et al. (2018), Deep generative modeling for single-cell transcriptomics.
    """

    def __init__(
        self, event_shape: Shape, dispersion: Dispersion = "learned", *, shares: bool = False, batches: int = 0
    ) -> None:
        super().__init__(event_shape, dispersion, shares, batches, gates=0)

    def member(self, counts: dist.NegativeBinomial, *gates: Tensor) -> TorchDistribution:
        """`counts` itself; there are no `gates`."""
        return counts

    def start(self, x: Tensor) -> Tensor:
        raw, raw_r, _ = self.moments(x)
        return torch.cat([raw, raw_r]) if self.dispersion == "predicted" else raw


class ZeroInflatedNegativeBinomial(OverdispersedCounts):
    """p(x | z) = prod_i [gate_i 1(x_i = 0) + (1 - gate_i) NegativeBinomial(x_i; mean_i, r_i)].

    The decoder emits l, with a predicted dispersion raw r, and the logit of the gate, stacked along the first event
    dimension. The mean is that of the negative binomial, exp(15 tanh(l / 15)) or total softmax(l); that of a count is
    (1 - gate) times as large.

    Args:
        event_shape: shape of one data point.
        dispersion: `"learned"`, one parameter r per entry, or `"predicted"`, emitted by the decoder.
        shares: whether the decoder emits the logits of shares of a total, as in `models.CountVAE`.
        batches: K for a learned r per entry and batch; 0 for one of all batches.

    Raises:
        SupportError, SettingError, ShapeError, PairError: as for `OverdispersedCounts`.

    References: Lopez et al. (2018), Deep generative modeling for single-cell transcriptomics.
    """

    def __init__(
        self, event_shape: Shape, dispersion: Dispersion = "learned", *, shares: bool = False, batches: int = 0
    ) -> None:
        super().__init__(event_shape, dispersion, shares, batches, gates=1)

    def member(self, counts: dist.NegativeBinomial, *gates: Tensor) -> TorchDistribution:
        """A mixture of 0 and `counts`, by the logits `gates`."""
        return _ZeroInflated(counts, gate_logits=gates[0])

    def start(self, x: Tensor) -> Tensor:
        """The negative binomial of the data's moments, with the zeros beyond those that it expects as the gate."""
        raw, raw_r, mean = self.moments(x)
        r = _log_bounded(raw_r, DISPERSION_BOUND).exp()
        expected, seen = (-r * (mean / r).log1p()).exp().mean(0), (self.rows(x) == 0).to(raw.dtype).mean(0)
        gate = ((seen - expected) / (1 - expected).clamp_min(1e-6)).clamp(0.01, 0.9)
        return torch.cat([raw, *([raw_r] if self.dispersion == "predicted" else []), gate.logit()])


class _NegativeBinomial(dist.NegativeBinomial):
    """The negative binomial distribution, whose log-probabilities are computed in float64.

    At counts near a million the terms are millions of nats, and cancel: float32 would be off by a nat. r keeps its own
    shape: where it is one number per entry, its part of the coefficient is computed once, not for each data point.
    """

    def __init__(self, r: Tensor, logits: Tensor) -> None:
        self.r = r
        super().__init__(r, logits=logits)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> "_NegativeBinomial":
        return _NegativeBinomial(self.r, self.logits.expand(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        r, logits, count = wide(self.r), wide(self.logits), wide(value)
        log_prob = count * logits - (r + count) * softplus(logits, threshold=40)
        return (log_prob + log_binomial(r, count)).to(self.logits.dtype)


class _ZeroInflated(dist.ZeroInflatedDistribution):
    """gate 1(x = 0) + (1 - gate) p(x), whose logarithm is log(e^logit 1(x = 0) + p(x)) - log(1 + e^logit)."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        gate, counted = self.gate_logits, self.base_dist.log_prob(value)
        return torch.where(value == 0, gate + softplus(counted - gate), counted) - softplus(gate)


def _log_bounded(raw: Tensor, bound: float) -> Tensor:
    """The logarithm of `numeric.bounded_scale`."""
    return bound * torch.tanh(raw / bound)
