"""The interface of a likelihood, and what the families share: checks of supports, and scales in units of the data."""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.errors import SupportError
from pyrovae.networks.shape import Shape, as_shape
from pyrovae.recorded import Recorded

__all__ = ["Likelihood", "in_units", "require_between", "require_finite", "require_integers", "unit_advice"]


class Likelihood(Recorded, nn.Module, ABC):
    """The interface of p(x | params).

    A decoder emits params of shape `(*, *params_shape)`: `event_shape`, with its first dimension multiplied by the
    number of parameters per entry. A family puts the settings that `repr` shows after the event shape into `settings`.

    Args:
        event_shape: shape of one data point, `(1, 28, 28)` or `30`; `()` for a single number without dimensions.
        params_per_entry: how many parameters the decoder emits for each entry of x.
    """

    def __init__(self, event_shape: Shape, params_per_entry: int = 1) -> None:
        super().__init__()
        single = isinstance(event_shape, tuple) and not event_shape
        self.event_shape = () if single else as_shape(event_shape)
        self.params_per_entry = params_per_entry
        first, *rest = self.event_shape or (1,)
        self.params_shape: tuple[int, ...] = (params_per_entry * first, *rest)
        self.settings: dict[str, Any] = {}

    @abstractmethod
    def forward(self, params: Tensor) -> TorchDistribution:
        """p(x | params), event shape `event_shape`."""

    @abstractmethod
    def start(self, x: Tensor) -> Tensor:
        """The parameters at which training starts: the fit to data `(N, *event_shape)`, entry by entry, without z.

        This sets the parameters that the likelihood owns, such as a learned scale, and returns those that the decoder
        emits, of shape `params_shape`. A single data point has no spread, so it leaves scales at 1.
        """

    @abstractmethod
    def check(self, x: Tensor) -> None:
        """Raise SupportError where `x` has no density."""

    def rows(self, x: Tensor) -> Tensor:
        """The data `x` as floats `(N, *event_shape)`."""
        x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        return x.reshape(-1, *self.event_shape)

    def parts(self, params: Tensor) -> tuple[Tensor, ...]:
        """The parameters of each kind: `params` as `params_per_entry` tensors `(*, *event_shape)`."""
        return params.chunk(self.params_per_entry, dim=-len(self.event_shape))

    def extra_repr(self) -> str:
        shown = {
            name: f"{value:g}" if isinstance(value, float) else repr(value) for name, value in self.settings.items()
        }
        return ", ".join([f"{self.event_shape}", *(f"{name}={value}" for name, value in shown.items())])


def require_between(x: Tensor, low: float, high: float, rule: str, instead: str) -> None:
    """Raise SupportError where `x` is outside [low, high], or NaN.

    Args:
        x: data of any shape.
        low: the least value allowed.
        high: the greatest value allowed.
        rule: the begin of the message, such as "likelihood Poisson requires x in {0, 1, 2, ...}".
        instead: the end of the message, which says what to write.
    """
    least, most = x.min().item(), x.max().item()
    if not (low <= least and most <= high):
        raise SupportError(f"{rule}, got values from {least:.3g} to {most:.3g} at site 'x'. {instead}")


def unit_advice(x: Tensor, otherwise: str) -> str:
    """What to write where data of [0, 1] are beyond: `Scale()` is for bytes, and whole numbers may be counts.

    Args:
        x: data of any shape.
        otherwise: the likelihood that takes such data as they are.
    """
    if x.dtype == torch.uint8:
        return f"Scale it to [0, 1] (pyrovae.data.Scale()), or use {otherwise}."
    least, most = x.min().item(), x.max().item()
    if not (math.isfinite(most) and least >= 0):
        return f"Scale it to [0, 1], (x - x.min()) / (x.max() - x.min()), or use {otherwise}."
    counts = " For counts use Binomial, Poisson or NegativeBinomial." if bool((x == x.round()).all()) else ""
    return (
        f"Divide it by its maximum, x / {most:.6g} (pyrovae.data.Scale() divides bytes, uint8, alone), or use "
        f"{otherwise}.{counts}"
    )


def require_integers(x: Tensor, high: float, rule: str, instead: str) -> None:
    """Raise SupportError where `x` is not one of 0, 1, ..., high.

    Args:
        x: data of any shape.
        high: the greatest value allowed; infinity for no limit.
        rule: the begin of the message, as in `require_between`.
        instead: the end of the message, which says what to write.
    """
    require_between(x, 0, high, rule, instead)
    broken = x[x != x.round()]
    if len(broken):
        raise SupportError(f"{rule}, got {broken[0].item():.4g} at site 'x'. {instead}")


def require_finite(x: Tensor, name: str) -> None:
    """Raise SupportError where `x` is NaN or infinite.

    Args:
        x: data of any shape.
        name: the name of the likelihood, for the message.
    """
    if not x.isfinite().all():
        raise SupportError(f"likelihood {name} requires finite x, got NaN or infinity at site 'x'. Drop those rows.")


def in_units(unit: Tensor, x: Tensor, spread_at_1: float) -> tuple[Tensor, Tensor]:
    """Set `unit` to the common scale of all entries of x, and return the mean and scale of each entry in that unit.

    An entry that hardly varies gets a tenth of the unit as its scale: a smaller one would make its density explode as
    soon as it varies. The unit is 1 where x has one row, or never varies.

    Args:
        unit: the buffer to set, shape `()`.
        x: data `(N, *event_shape)`.
        spread_at_1: the standard deviation of the family at scale 1.
    """
    mean = x.mean(0)
    scale = x.std(0, correction=0) / spread_at_1 if len(x) > 1 else torch.ones_like(mean)
    overall = scale.square().mean().sqrt()
    unit.copy_(torch.where(overall > 0, overall, 1.0))
    here = unit.to(x)
    return mean / here, (scale / here).clamp_min(0.1)
