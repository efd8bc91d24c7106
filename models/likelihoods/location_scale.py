"""Likelihoods with a location and a scale: normal, Laplace, Student's t, and log-normal."""

import math
from abc import abstractmethod
from typing import Literal

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.errors import SupportError
from pyrovae.models.likelihoods.likelihood import Likelihood, in_units, raw_scale
from pyrovae.networks.shape import Shape
from pyrovae.numeric import bounded_scale

__all__ = ["Laplace", "LocationScale", "LogNormal", "Normal", "Scale", "StudentT"]

Scale = float | Literal["learned", "each", "predicted"]


class LocationScale(Likelihood):
    """The interface of a family of locations and scales; the decoder emits loc, and the raw scale if predicted.

    Both are in the `unit` of the data, which `start` sets to their spread and which is 1 before: so training is the
    same whatever the data are measured in, and a fresh decoder disturbs the start by little.

    Args:
        event_shape: shape of one datum.
        scale: a number (fixed), `"learned"` (one parameter, the same for all entries), `"each"` (one parameter per
            entry, as in factor analysis), or `"predicted"` (the decoder emits it per entry: params are loc and raw
            scale, stacked along the first event dimension).
        min_scale: smaller scales count as this one, in units of x. It keeps a decoder of few data from being sure of
            what it has learned by heart.

    Raises:
        SupportError: a scale that is none of these, a negative `min_scale`; in `check`, x that is not finite.
    """

    scale: Tensor
    unit: Tensor
    spread_at_1 = 1.0
    """The standard deviation at scale 1."""

    def __init__(self, event_shape: Shape, scale: Scale = "learned", *, min_scale: float = 0.0) -> None:
        super().__init__(event_shape)
        self.min_scale = min_scale
        self.register_buffer("unit", torch.ones(()))
        self.kind = scale if isinstance(scale, str) else "fixed"
        if self.kind in ("learned", "each"):
            self.raw_scale = nn.Parameter(torch.zeros(self.event_shape if self.kind == "each" else ()))
        elif self.kind == "predicted":
            self.params_per_entry = 2
        elif not isinstance(scale, str) and float(scale) > 0:
            self.register_buffer("scale", torch.tensor(float(scale)))
        else:
            name = type(self).__name__
            raise SupportError(f"{name} wants scale > 0, 'learned', 'each' or 'predicted', got {scale!r}.")
        if min_scale < 0:
            raise SupportError(f"{type(self).__name__} wants min_scale >= 0, got {min_scale}. Write 0.01, say.")

    @abstractmethod
    def member(self, loc: Tensor, scale: Tensor) -> TorchDistribution:
        """The distribution of one entry, event shape ()."""

    def forward(self, params: Tensor) -> TorchDistribution:
        if self.kind == "predicted":
            loc, raw = self.parts(params)
            loc, scale = self.unit * loc, self.unit * bounded_scale(raw)
        else:
            loc, scale = self.unit * params, self._one_scale()
        if self.min_scale:
            scale = scale.clamp_min(self.min_scale)
        return self.member(loc, scale).to_event(len(self.event_shape))

    def _one_scale(self) -> Tensor:
        return self.scale if self.kind == "fixed" else self.unit * bounded_scale(self.raw_scale)

    def start(self, x: Tensor) -> Tensor:
        return self._start(self.rows(x))

    def _start(self, x: Tensor) -> Tensor:
        """Mean and spread of `x`; a learned scale is that of all entries, the unit."""
        loc, scale = in_units(self.unit, x, self.spread_at_1)
        if self.kind in ("learned", "each"):
            self.raw_scale.data.copy_(raw_scale(scale) if self.kind == "each" else torch.zeros(()))
        return torch.cat([loc, raw_scale(scale)]) if self.kind == "predicted" else loc

    def check(self, x: Tensor) -> None:
        if not x.isfinite().all():
            name = type(self).__name__
            raise SupportError(f"likelihood {name} wants finite x, got NaN or infinity at site 'x'. Drop those rows.")

    def extra_repr(self) -> str:
        scale = f"{self.scale.item():g}" if self.kind == "fixed" else repr(self.kind)
        return f"{self.event_shape}, scale={scale}" + (f", min_scale={self.min_scale:g}" if self.min_scale else "")


class Normal(LocationScale):
    """p(x | z) = prod_i Normal(x_i; loc_i, scale_i).

    Args:
        event_shape, scale, min_scale: those of every `LocationScale`.

    Raises:
        SupportError: in `check`, x that is not finite.
    """

    def member(self, loc: Tensor, scale: Tensor) -> TorchDistribution:
        return dist.Normal(loc, scale)


class Laplace(LocationScale):
    """p(x | z) = prod_i exp(-|x_i - loc_i| / scale_i) / (2 scale_i): absolute errors, so outliers weigh less.

    Args:
        event_shape, scale, min_scale: those of every `LocationScale`.

    Raises:
        SupportError: in `check`, x that is not finite.
    """

    spread_at_1 = math.sqrt(2)

    def member(self, loc: Tensor, scale: Tensor) -> TorchDistribution:
        return dist.Laplace(loc, scale)


class StudentT(LocationScale):
    """p(x | z) = prod_i StudentT(x_i; df_i, loc_i, scale_i): heavy tails, so an outlier says little about the rest.

    The degrees of freedom are learned, one number per entry, above 2, so that there are a mean and a variance; many of
    them are a normal.

    Args:
        event_shape, scale, min_scale: those of every `LocationScale`.

    Raises:
        SupportError: in `check`, x that is not finite.
    """

    def __init__(self, event_shape: Shape, scale: Scale = "learned", *, min_scale: float = 0.0) -> None:
        super().__init__(event_shape, scale, min_scale=min_scale)
        self.raw_df = nn.Parameter(torch.ones(self.event_shape))

    def member(self, loc: Tensor, scale: Tensor) -> TorchDistribution:
        return dist.StudentT(2 + bounded_scale(self.raw_df), loc, scale)


class LogNormal(LocationScale):
    """p(x | z) = prod_i Normal(log x_i; loc_i, scale_i) / x_i, for x > 0: its mean is exp(loc + scale^2 / 2).

    Args:
        event_shape, scale, min_scale: those of every `LocationScale`; loc and scale are of log x.

    Raises:
        SupportError: in `check`, x that is not positive and finite.
    """

    def member(self, loc: Tensor, scale: Tensor) -> TorchDistribution:
        return dist.LogNormal(loc, scale)

    def start(self, x: Tensor) -> Tensor:
        return self._start(self.rows(x).log())

    def check(self, x: Tensor) -> None:
        if not ((x > 0) & x.isfinite()).all():
            raise SupportError(
                f"likelihood LogNormal wants x > 0, got values from {x.min().item():.3g} to {x.max().item():.3g} at "
                "site 'x'. Use Normal(), or counts with Poisson() or NegativeBinomial()."
            )
