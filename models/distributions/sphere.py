"""Distributions on the unit sphere: the uniform one, and those that are symmetric about a direction."""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions import register_kl
from torch.nn.functional import normalize

from pyrovae.errors import ShapeError
from pyrovae.numeric import wide

__all__ = ["Rotational", "SphericalUniform", "log_area"]


def log_area(dim: int) -> float:
    """log(2 pi^(D/2) / Gamma(D/2)): the logarithm of the area of the unit sphere of R^D.

    Args:
        dim: D.
    """
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


class SphericalUniform(TorchDistribution):
    """p(z) = Gamma(D/2) / (2 pi^(D/2)) for every z of length 1, `(D,)`: the density with respect to the area.

    It has no mean direction, so it has no `mean`.

    Args:
        dim: D, at least 2.
        batch_shape: the number of independent draws in each dimension of a batch.
        dtype: the type of the draws; torch's default if None.
        device: the device of the draws; torch's default if None.

    Raises:
        ShapeError: D is below 2.
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.sphere
    has_rsample = True

    def __init__(
        self,
        dim: int,
        batch_shape: Any = torch.Size(),  # noqa: B008
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> None:
        if dim < 2:
            raise ShapeError(f"SphericalUniform requires dim >= 2, got {dim}. Write SphericalUniform(3).")
        self.dim, self.dtype, self.device = dim, dtype, device
        super().__init__(torch.Size(batch_shape), torch.Size([dim]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "SphericalUniform":
        return SphericalUniform(self.dim, batch_shape, dtype=self.dtype, device=self.device)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return normalize(torch.randn(self._extended_shape(sample_shape), dtype=self.dtype, device=self.device), dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        return value.new_full(torch.broadcast_shapes(value.shape[:-1], self.batch_shape), -log_area(self.dim))

    def entropy(self) -> Tensor:
        return torch.full(self.batch_shape, log_area(self.dim), dtype=self.dtype, device=self.device)


class Rotational(TorchDistribution, ABC):
    """A distribution on the unit sphere whose density depends on w = loc . z alone.

    A draw is z = w loc + sqrt(1 - w^2) v, where v is uniform on the unit vectors orthogonal to loc. Draws are
    reparameterised. Densities are computed in float64, because w is near 1 where the concentration is large.

    A subclass defines the law of w: its draws, its density, and the divergence to the uniform distribution.

    Args:
        loc: the mean direction, of length 1, `(*, D)` with D >= 2.
        concentration: positive numbers, `(*)`; at 0 every direction is equally probable.
        validate_args: whether to check the arguments, and the values in `log_prob`; None for torch's default.

    Raises:
        ShapeError: D is below 2.

    Attributes:
        mean: the mean direction, which is the point of the sphere nearest to the draws; E[z] is the mean direction
            times `mean_resultant_length`, and lies within the sphere.
    """

    arg_constraints = {"loc": constraints.sphere, "concentration": constraints.positive}  # noqa: RUF012
    support = constraints.sphere
    has_rsample = True

    def __init__(self, loc: Tensor, concentration: Tensor, validate_args: bool | None = None) -> None:
        if not loc.shape or loc.shape[-1] < 2:
            raise ShapeError(
                f"{type(self).__name__} requires loc of shape (*, D) with D >= 2, got {tuple(loc.shape)}. Write "
                f"{type(self).__name__}(normalize(loc, dim=-1), concentration)."
            )
        shape = torch.broadcast_shapes(loc.shape[:-1], concentration.shape)
        self.loc, self.concentration = loc.expand(*shape, -1), concentration.expand(shape)
        super().__init__(shape, loc.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Rotational":
        new = type(self)(self.loc.expand(*batch_shape, -1), self.concentration.expand(batch_shape), False)
        new._validate_args = self._validate_args
        return new

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    @abstractmethod
    def mean_resultant_length(self) -> Tensor:
        """E[w], the length of E[z], `(*)`."""

    @abstractmethod
    def divergence(self) -> Tensor:
        """KL(q || uniform), `(*)`, in float64."""

    @abstractmethod
    def log_relative(self, w: Tensor) -> Tensor:
        """The log-density with respect to the uniform distribution, `(*)`, in float64.

        Args:
            w: loc . z, `(*)`, in float64.
        """

    @abstractmethod
    def poles(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """1 + w and 1 - w of draws of w, each of that shape, in float64, both without cancellation.

        Args:
            shape: the shape of the draws.
        """

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape, loc = self._extended_shape(sample_shape), wide(self.loc)
        above, below = self.poles(shape[:-1])
        noise = wide(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))
        tangent = normalize(noise - (noise * loc).sum(-1, keepdim=True) * loc, dim=-1)
        w, sine = (above - below) / 2, (above * below).sqrt()
        return normalize(w.unsqueeze(-1) * loc + sine.unsqueeze(-1) * tangent, dim=-1).to(self.loc)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        # Both are normalised again: a length of 1 + 6e-8, as float32 rounds it, would count concentration times.
        w = (normalize(wide(value), dim=-1) * normalize(wide(self.loc), dim=-1)).sum(-1).clamp(-1, 1)
        return (self.log_relative(w) - log_area(self.event_shape[0])).to(self.loc)

    def entropy(self) -> Tensor:
        return (log_area(self.event_shape[0]) - self.divergence()).to(self.loc)


@register_kl(Rotational, SphericalUniform)
def _to_uniform(q: Rotational, p: SphericalUniform) -> Tensor:
    return q.divergence().to(q.loc).expand(torch.broadcast_shapes(q.batch_shape, p.batch_shape))
