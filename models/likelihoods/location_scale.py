"""Likelihoods with a location and a scale: normal, Laplace, Student's t, and log-normal."""

import math
from abc import abstractmethod
from typing import Any, Literal

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_number
from pyrovae.errors import SupportError
from pyrovae.models.likelihoods.likelihood import Likelihood, in_units, require_finite
from pyrovae.networks.shape import Shape
from pyrovae.numeric import bounded_scale, raw_scale

__all__ = ["Laplace", "LocationScale", "LogNormal", "Normal", "ScaleMode", "StudentT"]

ScaleMode = float | Literal["learned", "each", "predicted"]
"""How a likelihood gets its scale.

A number is a fixed scale. `"learned"` is one parameter for all entries, `"each"` is one parameter per entry, as in
factor analysis, and `"predicted"` is emitted per entry by the decoder.
"""


def _is_positive(scale: Any) -> bool:
    try:
        return 0 < float(scale) < math.inf
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return False


class LocationScale(Likelihood):
    """The interface of a family of locations and scales: p(x | z) = prod_i p(x_i; loc_i, scale_i).

    The decoder emits loc, and with a predicted scale loc and raw scale, stacked along the first event dimension. Both
    are in the `unit` of the data, which is 1 until `start` sets it to the spread of the data. So training does not
    depend on the unit in which the data are measured, and a fresh decoder hardly disturbs the start.

    Args:
        event_shape: shape of one data point.
        scale: a number, `"learned"`, `"each"` or `"predicted"`; see `ScaleMode`.
        min_scale: a lower bound of the scale, in units of x. It keeps a decoder from memorising a small data set with
            ever smaller scales.

    Raises:
        SupportError: `scale` is none of these.
        SettingError: `min_scale` is negative.
    """

    scale: Tensor
    unit: Tensor
    spread_at_1 = 1.0
    """The standard deviation at scale 1."""

    def __init__(self, event_shape: Shape, scale: ScaleMode = "learned", *, min_scale: float = 0.0) -> None:
        super().__init__(event_shape, 2 if scale == "predicted" else 1)
        self.min_scale = check_number("min_scale", min_scale)
        self.register_buffer("unit", torch.ones(()))
        self.mode = scale if isinstance(scale, str) else "fixed"
        name = type(self).__name__
        if self.mode in ("learned", "each"):
            self.raw_scale = nn.Parameter(torch.zeros(self.event_shape if self.mode == "each" else ()))
        elif not isinstance(scale, str) and _is_positive(scale):
            self.register_buffer("scale", torch.tensor(float(scale)))
        elif self.mode != "predicted":
            raise SupportError(f"{name} requires scale > 0, 'learned', 'each' or 'predicted', got {scale!r}.")
        check_number("min_scale", min_scale, 0, write=0.01)
        self.settings = {"scale": scale if isinstance(scale, str) else float(scale)}
        if min_scale:
            self.settings["min_scale"] = min_scale

    @abstractmethod
    def member(self, loc: Tensor, scale: Tensor) -> TorchDistribution:
        """The distribution of one entry, event shape (), by its location `loc` and its `scale`."""

    def forward(self, params: Tensor) -> TorchDistribution:
        if self.mode == "predicted":
            loc, raw = self.parts(params)
            loc, scale = self.unit * loc, self.unit * bounded_scale(raw)
        else:
            loc, scale = self.unit * params, self._one_scale()
        if self.min_scale:
            scale = scale.clamp_min(self.min_scale)
        return self.member(loc, scale).to_event(len(self.event_shape))

    def _one_scale(self) -> Tensor:
        return self.scale if self.mode == "fixed" else self.unit * bounded_scale(self.raw_scale)

    def match_moments(self, x: Tensor) -> Tensor:
        """Where training starts: the mean and spread of `x`, floats `(N, *event_shape)`; a common scale is the unit."""
        loc, scale = in_units(self.unit, x, self.spread_at_1)
        if self.mode in ("learned", "each"):
            self.raw_scale.data.copy_(raw_scale(scale) if self.mode == "each" else torch.zeros(()))
        return torch.cat([loc, raw_scale(scale)]) if self.mode == "predicted" else loc

    def match_factors(self, loc: Tensor, loadings: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Bias `(*params_shape,)` and weight `(*params_shape, K)` of a linear decoder with these factors.

        It sets the scale that is a parameter: with one scale for each entry, p(x | z) is then
        Normal(x_d; loc_d + (W z)_d, scale_d), or the member of another family with that location and spread. Call
        `start` before, which sets the unit.

        Args:
            loc: the locations at z = 0, `(D,)`.
            loadings: W, `(D, K)`.
            scale: the standard deviations given z, `(D,)`.
        """
        raw = raw_scale(scale / (self.unit * self.spread_at_1))
        if self.mode == "each":
            self.raw_scale.data.copy_(raw)
        elif self.mode == "learned":
            overall = scale.square().mean().sqrt()
            self.raw_scale.data.copy_(raw_scale(overall / (self.unit * self.spread_at_1)))
        bias, weight = loc / self.unit, loadings / self.unit
        if self.mode == "predicted":
            bias, weight = torch.cat([bias, raw]), torch.cat([weight, torch.zeros_like(weight)])
        return bias, weight


class Normal(LocationScale):
    """p(x | z) = prod_i Normal(x_i; loc_i, scale_i).

    Args:
        event_shape, scale, min_scale: those of `LocationScale`.

    Raises:
        SupportError: in `check`, x is not finite.
    """

    def member(self, loc: Tensor, scale: Tensor) -> TorchDistribution:
        return dist.Normal(loc, scale)

    def start(self, x: Tensor) -> Tensor:
        return self.match_moments(self.rows(x))

    def check(self, x: Tensor) -> None:
        require_finite(x, "Normal")


class Laplace(LocationScale):
    """p(x | z) = prod_i exp(-|x_i - loc_i| / scale_i) / (2 scale_i).

    The loss is the absolute error, so an outlier weighs less than under a normal.

    Args:
        event_shape, scale, min_scale: those of `LocationScale`.

    Raises:
        SupportError: in `check`, x is not finite.
    """

    spread_at_1 = math.sqrt(2)

    def member(self, loc: Tensor, scale: Tensor) -> TorchDistribution:
        return dist.Laplace(loc, scale)

    def start(self, x: Tensor) -> Tensor:
        return self.match_moments(self.rows(x))

    def check(self, x: Tensor) -> None:
        require_finite(x, "Laplace")


class StudentT(LocationScale):
    """p(x | z) = prod_i StudentT(x_i; df_i, loc_i, scale_i): heavy tails, under which an outlier has little influence.

    The degrees of freedom are learned, one number per entry. They are above 2, so the mean and the variance exist; in
    the limit of many degrees of freedom the distribution is normal.

    Args:
        event_shape, scale, min_scale: those of `LocationScale`.

    Raises:
        SupportError: in `check`, x is not finite.
    """

    def __init__(self, event_shape: Shape, scale: ScaleMode = "learned", *, min_scale: float = 0.0) -> None:
        super().__init__(event_shape, scale, min_scale=min_scale)
        self.raw_df = nn.Parameter(torch.ones(self.event_shape))

    def member(self, loc: Tensor, scale: Tensor) -> TorchDistribution:
        return dist.StudentT(2 + bounded_scale(self.raw_df), loc, scale)

    def start(self, x: Tensor) -> Tensor:
        return self.match_moments(self.rows(x))

    def check(self, x: Tensor) -> None:
        require_finite(x, "StudentT")


class LogNormal(LocationScale):
    """p(x | z) = prod_i Normal(log x_i; loc_i, scale_i) / x_i, for x > 0. Its mean is exp(loc + scale^2 / 2).

    Args:
        event_shape, scale, min_scale: those of `LocationScale`; loc and scale are those of log x.

    Raises:
        SupportError: in `check`, x is not positive and finite.
    """

    def member(self, loc: Tensor, scale: Tensor) -> TorchDistribution:
        return dist.LogNormal(loc, scale)

    def start(self, x: Tensor) -> Tensor:
        return self.match_moments(self.rows(x).log())

    def check(self, x: Tensor) -> None:
        if not ((x > 0) & x.isfinite()).all():
            raise SupportError(
                f"likelihood LogNormal requires x > 0, got values from {x.min().item():.3g} to {x.max().item():.3g} at "
                "site 'x'. Use Normal(), or for counts Poisson() or NegativeBinomial()."
            )
