"""The power spherical distribution: a von Mises-Fisher without Bessel functions and rejection."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor

from pyrovae.models.distributions.sphere import Rotational
from pyrovae.numeric import wide

__all__ = ["PowerSpherical"]


class PowerSpherical(Rotational):
    """p(z) proportional to (1 + loc . z)^concentration for z of length 1, `(D,)`.

    With w = loc . z, (1 + w) / 2 ~ Beta((D - 1) / 2 + concentration, (D - 1) / 2), from which all follows in closed
    form. Near loc it is the von Mises-Fisher of half the concentration.

    Args:
        loc: the mean direction, of length 1, `(*, D)` with D >= 2.
        concentration: positive numbers, `(*)`.
        validate_args: whether to check the arguments, and the values in `log_prob`; None for torch's default.

    Raises:
        ShapeError: D is below 2.

    References: De Cao & Aziz (2020), arXiv:2006.04437.
    """

    @property
    def half(self) -> float:
        """(D - 1) / 2."""
        return (self.event_shape[0] - 1) / 2

    @property
    def mean_resultant_length(self) -> Tensor:
        return self.concentration / (self.concentration + 2 * self.half)

    def _log_mean(self) -> Tensor:
        """log E[((1 + w) / 2)^concentration] under the uniform distribution, in float64."""
        k, b = wide(self.concentration), self.half
        constant = math.lgamma(2 * b) - math.lgamma(b)
        return constant + torch.lgamma(b + k) - torch.lgamma(2 * b + k)

    def divergence(self) -> Tensor:
        k, b = wide(self.concentration), self.half
        return k * (torch.digamma(b + k) - torch.digamma(2 * b + k)) - self._log_mean()

    def log_relative(self, w: Tensor) -> Tensor:
        ratio = ((1 + w) / 2).clamp_min(torch.finfo(w.dtype).tiny)
        return wide(self.concentration) * ratio.log() - self._log_mean()

    def poles(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        k, b = wide(self.concentration).expand(shape), self.half
        above = dist.Gamma(b + k, torch.ones_like(k), validate_args=False).rsample()
        below = dist.Gamma(torch.full_like(k, b), torch.ones_like(k), validate_args=False).sample()
        return 2 * above / (above + below), 2 * below / (above + below)
