"""The interface of a likelihood, and what the families share: supports, spreads and raw scales."""

from abc import ABC, abstractmethod

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.errors import SupportError
from pyrovae.networks.shape import Shape, as_shape

__all__ = ["Likelihood", "in_units", "raw_scale", "wants_between", "wants_integers"]


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
    def start(self, x: Tensor) -> Tensor:
        """Where training starts: the fit to data `(N, *event_shape)`, entry by entry, without any z.

        Parameters that the likelihood owns, such as a learned scale, are set; those that the decoder emits are
        returned, of shape `params_shape`. One datum has no spread, and leaves scales at 1.
        """

    @abstractmethod
    def check(self, x: Tensor) -> None:
        """Raise SupportError where `x` has no density here."""

    def rows(self, x: Tensor) -> Tensor:
        """Data as floats `(N, *event_shape)`."""
        x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        return x.reshape(-1, *self.event_shape)

    def parts(self, params: Tensor) -> tuple[Tensor, ...]:
        """The parameters of each kind, `params_per_entry` tensors `(*, *event_shape)`."""
        return params.chunk(self.params_per_entry, dim=-len(self.event_shape))

    def extra_repr(self) -> str:
        return f"{self.event_shape}"


def wants_between(x: Tensor, low: float, high: float, wants: str, instead: str) -> None:
    """Raise SupportError where `x` leaves [low, high], or is NaN."""
    least, most = x.min().item(), x.max().item()
    if not (low <= least and most <= high):
        raise SupportError(f"{wants}, got values from {least:.3g} to {most:.3g} at site 'x'. {instead}")


def wants_integers(x: Tensor, high: float, wants: str, instead: str) -> None:
    """Raise SupportError where `x` is not among 0, 1, ... high."""
    wants_between(x, 0, high, wants, instead)
    broken = x[x != x.round()]
    if len(broken):
        raise SupportError(f"{wants}, got {broken[0].item():.4g} at site 'x'. {instead}")


def in_units(unit: Tensor, x: Tensor, spread_at_1: float) -> tuple[Tensor, Tensor]:
    """Set `unit` to the scale that all entries have together, and give each entry's mean and scale in it.

    An entry that hardly varies has a tenth: a density must not explode as soon as it does. One row has no spread,
    and data that never vary have none: their unit is 1.
    """
    mean = x.mean(0)
    scale = x.std(0, correction=0) / spread_at_1 if len(x) > 1 else torch.ones_like(mean)
    overall = scale.square().mean().sqrt()
    unit.copy_(torch.where(overall > 0, overall, 1.0))
    here = unit.to(x)
    return mean / here, (scale / here).clamp_min(0.1)


def raw_scale(scale: Tensor, bound: float = 7.0) -> Tensor:
    """The raw number of which `bounded_scale` makes that scale, kept off the bounds, where no gradient is."""
    return bound * torch.atanh(scale.log().clamp(1 - bound, bound - 1) / bound)
