"""The von Mises-Fisher distribution, with one smooth integral in the place of Bessel functions."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor

from pyrovae.models.distributions.sphere import Rotational
from pyrovae.numeric import wide

__all__ = ["VonMisesFisher"]

NODES = 64
"""Nodes of each quadrature. The error of the log-normaliser is below 1e-12 for D up to 50 and any concentration."""

PROPOSALS = 16
"""Proposals of each draw. All are rejected with a probability below 4e-8, and the draw is then the first of them."""


class VonMisesFisher(Rotational):
    """p(z) proportional to exp(concentration loc . z) for z of length 1, `(D,)`.

    All of it comes from one change of variables. With m = D - 1, k = concentration and
    b = 2 k / (m + sqrt(m^2 + 4 k^2)), w = loc . z is (c + b) / (1 + b c), where c, in (-1, 1), has the density
    proportional to

        (1 - c^2)^((D - 3) / 2) a(b c),    log a(x) = m (x / (1 + x) - log(1 + x)) <= 0.

    The first factor is the law of one coordinate of a uniform point, and E[a], over that law, is between 0.65 and 1 for
    every k and D. So:

    - the normaliser is E[a], a Gaussian quadrature of 64 nodes, times elementary functions. It equals that by the
      Bessel function I_(D/2-1) to 12 digits from k = 1e-3 to 1e5, where I itself over- and underflows;
    - a draw proposes uniform coordinates c and accepts one with probability a(b c), as Wood's rejection does. The
      number of proposals is fixed at 16, so that a draw is a graph without a loop;
    - the gradient of a draw with respect to k is the implicit one, dc/db = -(dF/db) / F' with the distribution function
      F of c: a second quadrature, exact where the rejection alone would leave out a term.

    Args:
        loc: the mean direction, of length 1, `(*, D)` with D >= 2.
        concentration: positive numbers, `(*)`.
        validate_args: whether to check the arguments, and the values in `log_prob`; None for torch's default.

    Raises:
        ShapeError: D is below 2.

    References: Wood (1994), Simulation of the von Mises Fisher distribution; Davidson et al. (2018), arXiv:1804.00891;
        Figurnov et al. (2018), arXiv:1805.08498, for the gradient.
    """

    @property
    def mean_resultant_length(self) -> Tensor:
        return (1 - self._boost().mean_gap()).to(self.loc)

    def divergence(self) -> Tensor:
        boost = self._boost()
        return -wide(self.concentration) * boost.mean_gap() - boost.log_mean(wide(self.concentration))

    def log_relative(self, w: Tensor) -> Tensor:
        k = wide(self.concentration)
        return k * (w - 1) - self._boost().log_mean(k)

    def poles(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        boost = self._boost()
        c = boost.draw(shape)
        if torch.is_grad_enabled() and boost.b.requires_grad:
            c = c + boost.slope(c).detach() * (boost.b - boost.b.detach())
        below = 1 + boost.b * c
        return (1 + boost.b) * (1 + c) / below, boost.rest * (1 - c) / below

    def _boost(self) -> "_Boost":
        k, m = wide(self.concentration), self.event_shape[0] - 1
        root = (m**2 + 4 * k.square()).sqrt()
        rest = m * (1 + m / (root + 2 * k)) / (root + m)  # 1 - b, without cancellation
        return _Boost(m, 2 * k / (root + m), rest)


class _Boost(NamedTuple):
    """The law of c, given m = D - 1, b and 1 - b, `(*)`."""

    m: int
    b: Tensor
    rest: Tensor

    def log_accept(self, c: Tensor) -> Tensor:
        """log a(b c)."""
        x = self.b * c
        return self.m * (x / (1 + x) - torch.log1p(x))

    def weights(self) -> tuple[Tensor, Tensor]:
        """The nodes c, `(64, 1...)`, and the logarithm of their weights in E[a], `(64, *)`."""
        nodes, weights = (self.b.new_tensor(part) for part in _gegenbauer(self.m))
        shape = (-1, *[1] * self.b.dim())
        c = nodes.reshape(shape)
        return c, weights.reshape(shape).log() + self.log_accept(c)

    def log_mean(self, k: Tensor) -> Tensor:
        """log E[exp(k (w - 1))] under the uniform distribution."""
        _, log_weights = self.weights()
        root = (self.m**2 + 4 * k.square()).sqrt()
        return log_weights.logsumexp(0) - k * self.rest + self.m / 2 * (2 * self.m / (self.m + root)).log()

    def mean_gap(self) -> Tensor:
        """E[1 - w]."""
        c, log_weights = self.weights()
        return (log_weights.softmax(0) * (1 - c) / (1 + self.b * c)).sum(0) * self.rest

    @torch.no_grad()
    def draw(self, shape: torch.Size) -> Tensor:
        """Draws of c."""
        half = torch.full((PROPOSALS, *shape), self.m / 2, dtype=self.b.dtype, device=self.b.device)
        c = 2 * dist.Beta(half, half, validate_args=False).sample() - 1
        accepted = torch.rand_like(c).log() < self.log_accept(c)
        return c.gather(0, accepted.byte().argmax(0, keepdim=True)).squeeze(0)

    @torch.no_grad()
    def slope(self, c: Tensor) -> Tensor:
        """dc/db at a fixed value of the distribution function.

        It integrates d/db of the log-density, less its mean, from c to the nearer end of (-1, 1), in the angle.
        """
        nodes, weights = (self.b.new_tensor(part).reshape(-1, *[1] * c.dim()) for part in _legendre())
        angle, side = c.abs().acos(), c.sign()
        angles = angle * nodes
        points = side * angles.cos()
        log_ratio = self.log_accept(points) - self.log_accept(c)
        mass = angles.sin() ** (self.m - 1) / angle.sin().clamp_min(1e-300) ** (self.m - 2) * log_ratio.exp()
        inner = ((self.score(points) - self._mean_score()) * mass * weights).sum(0)
        return side * angle * inner

    def score(self, c: Tensor) -> Tensor:
        """d/db of log a(b c)."""
        return -self.m * self.b * (c / (1 + self.b * c)).square()

    def _mean_score(self) -> Tensor:
        c, log_weights = self.weights()
        return (log_weights.softmax(0) * self.score(c)).sum(0)


@lru_cache
def _gegenbauer(m: int) -> tuple[list[float], list[float]]:
    """Nodes and weights for the law proportional to (1 - c^2)^(m / 2 - 1) on (-1, 1), by Golub and Welsch."""
    if m == 1:
        return np.cos((2 * np.arange(NODES) + 1) * np.pi / (2 * NODES)).tolist(), [1 / NODES] * NODES
    n, order = np.arange(1, NODES), (m - 1) / 2
    beside = np.sqrt(n * (n + 2 * order - 1) / (4 * (n + order) * (n + order - 1)))
    nodes, vectors = np.linalg.eigh(np.diag(beside, 1) + np.diag(beside, -1))
    return nodes.tolist(), (vectors[0] ** 2).tolist()


@lru_cache
def _legendre() -> tuple[list[float], list[float]]:
    """Nodes and weights of the integral over (0, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()
