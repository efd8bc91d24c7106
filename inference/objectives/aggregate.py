"""Objectives that compare the codes of a whole batch: beta-TCVAE, and the maximum mean discrepancy."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from pyro import poutine
from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.errors import PairError
from pyrovae.inference.objectives.objective import Objective
from pyrovae.inference.objectives.particles import Particles, draw_particles
from pyrovae.inference.objectives.requirements import one_factorised_latent
from pyrovae.inference.objectives.schedules import Schedule, at, check_weight
from pyrovae.inference.pair.contract import Site
from pyrovae.inference.pair.divergence import factors
from pyrovae.inference.pair.tracing import sites

__all__ = ["MMD", "BetaTCVAE", "Decomposition", "mean_discrepancy"]


class Decomposition(NamedTuple):
    """The rate of each data point as a sum of three parts, `(B,)` each; q(z) is the mean of q(z | x) over the data.

    Attributes:
        information: log q(z | x) - log q(z), whose mean is the mutual information of x and z.
        correlation: log q(z) - sum_d log q(z_d), whose mean is the total correlation.
        dimensions: sum_d log q(z_d) - log p(z), whose mean is the divergence of the dimensions from the prior.
    """

    information: Tensor
    correlation: Tensor
    dimensions: Tensor


class BetaTCVAE(Objective):
    """E_q log p(x | z) - alpha * information - beta * correlation - gamma * dimensions (see `Decomposition`).

    With weights of one it is the ELBO. q(z) is estimated by minibatch-weighted sampling: log q(z) = log 1/(N B)
    sum_j q(z | x_j), the sum over the batch.

    Args:
        alpha, beta, gamma: numbers or schedules.
        data_size: N, the number of training data points.

    Raises:
        SettingError: a weight is negative or not finite, or `data_size` is no count.
        PairError: at the first run, a pair with more than one latent, or a guide that is not a product over dimensions.

    References: Chen et al. (2018), arXiv:1802.04942.
    """

    def __init__(
        self,
        alpha: float | Schedule = 1.0,
        beta: float | Schedule = 6.0,
        gamma: float | Schedule = 1.0,
        *,
        data_size: int,
    ) -> None:
        couples = "which estimates q(z) by the codes of the whole batch"
        super().__init__(independent=True, requirements=[partial(one_factorised_latent, "BetaTCVAE")], couples=couples)
        for name, weight in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
            check_weight(name, weight)
        check_count("data_size", data_size)
        self.alpha, self.beta, self.gamma, self.data_size = alpha, beta, gamma, data_size

    def bound(self, particles: Particles) -> Tensor:
        parts = self.decompose(particles)
        weights = (at(weight, self.step) for weight in (self.alpha, self.beta, self.gamma))
        penalties = (weight * part for weight, part in zip(weights, parts, strict=True))
        return particles.terms.log_likelihood.squeeze(0) - sum(penalties)

    def decompose(self, particles: Particles) -> Decomposition:
        """The rate in its three parts.

        Args:
            particles: one draw for each data point.
        """
        ((name, level),) = particles.terms.levels.items()
        site = sites(particles.pair.guide)[name]
        # q(z_i | x_j) of each dimension, (B, B, D)
        dimensions = factors(site, "guide", "BetaTCVAE", "Write ELBO(kl_weight=...).")
        pairs = dimensions.log_prob(site["value"].unsqueeze(1)).flatten(2)
        count = math.log(self.data_size * len(pairs))
        log_q = pairs.sum(-1).logsumexp(1) - count
        log_product = (pairs.logsumexp(1) - count).sum(-1)
        log_guide, log_prior = level.log_guide.squeeze(0), level.log_prior.squeeze(0)
        return Decomposition(log_guide - log_q, log_q - log_product, log_product - log_prior)

    def extra_repr(self) -> str:
        return f"{self.alpha}, {self.beta}, {self.gamma}, data_size={self.data_size}"


class MMD(Objective):
    """E_q log p(x | z) - kl_weight * KL - weight * MMD^2, between the codes of the batch and draws from the model.

    With `kl_weight=0` this is the WAE, otherwise the InfoVAE. The code of a hierarchy consists of all its latents.

    Args:
        weight: of the discrepancy, a number or a schedule.
        kl_weight: of the rate, a number or a schedule.
        kernel: `"imq"`, a sum of inverse multiquadratics of seven widths, or `"rbf"`.

    Raises:
        SettingError: a weight is negative, or not finite.
        PairError: a kernel of another name.

    References: Zhao et al. (2017), arXiv:1706.02262 (InfoVAE: weight = alpha + lambda - 1, kl_weight = 1 - alpha);
    Tolstikhin et al. (2018), arXiv:1711.01558 (WAE).
    """

    def __init__(
        self, weight: float | Schedule, *, kl_weight: float | Schedule = 0.0, kernel: Literal["imq", "rbf"] = "imq"
    ) -> None:
        couples = "which compares the codes of the whole batch with draws from the prior"
        super().__init__(independent=True, draw=_draw_with_free_run, couples=couples)
        _kernel(kernel)
        check_weight("weight", weight)
        check_weight("kl_weight", kl_weight)
        self.weight, self.kl_weight, self.kernel = weight, kl_weight, kernel

    def bound(self, particles: Particles) -> Tensor:
        free = sites(particles.free or particles.pair.model)
        codes = _codes([site for site, _ in particles.pair.latent().values()])
        prior = _codes([free[name] for name in particles.pair.latent()])
        discrepancy = mean_discrepancy(codes, prior, self.kernel)
        bound = particles.terms.log_likelihood.squeeze(0) - at(self.weight, self.step) * discrepancy
        if self.kl_weight == 0:  # a guide without a density, such as a Delta, has no rate to train on
            return bound
        rate = (particles.terms.log_guide - particles.terms.log_prior).squeeze(0)
        return bound - at(self.kl_weight, self.step) * rate

    def extra_repr(self) -> str:
        return f"{self.weight}, kl_weight={self.kl_weight}, kernel={self.kernel!r}"


def _draw_with_free_run(
    model: Callable[[], Any], guide: Callable[[], Any], num_particles: int, depth: int
) -> Particles:
    """Particles, and draws from the model by itself."""
    particles = draw_particles(model, guide, num_particles, depth)
    with poutine.trace() as free:
        model()
    return particles._replace(free=free.trace)


def mean_discrepancy(x: Tensor, y: Tensor, kernel: Literal["imq", "rbf"] = "imq") -> Tensor:
    """MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y), a scalar; zero for equal samples.

    Distances are measured in units of sqrt(D), about the distance between two draws of a standard normal.

    Args:
        x, y: samples, `(N, D)` and `(M, D)`.
        kernel: `"imq"`, a sum of inverse multiquadratics of seven widths, or `"rbf"`.

    Raises:
        PairError: a kernel of another name.

    References: Gretton et al. (2012), A kernel two-sample test.
    """
    k = _kernel(kernel)
    return k(_squares(x, x)).mean() + k(_squares(y, y)).mean() - 2 * k(_squares(x, y)).mean()


def _squares(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances divided by D, `(N, M)`."""
    norms = x.square().sum(-1).unsqueeze(-1) + y.square().sum(-1)
    return (norms - 2 * x @ y.mT).clamp_min(0) / x.shape[-1]


def _imq(squares: Tensor) -> Tensor:
    widths = torch.tensor([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0], dtype=squares.dtype, device=squares.device) * 2
    widths = widths.reshape(-1, 1, 1)
    return (widths / (widths + squares)).sum(0)


def _rbf(squares: Tensor) -> Tensor:
    return (-squares / 2).exp()


_KERNELS = {"imq": _imq, "rbf": _rbf}


def _kernel(name: str) -> Callable[[Tensor], Tensor]:
    if not isinstance(name, str) or name not in _KERNELS:
        raise PairError(f"MMD requires a kernel {' or '.join(map(repr, _KERNELS))}, got {name!r}. Write kernel='imq'.")
    return _KERNELS[name]


def _codes(latent: list[Site]) -> Tensor:
    """The values of all latents, one row for each data point."""
    values = [site["value"].movedim(-1 - site["fn"].event_dim, 0) for site in latent]
    return torch.cat([value.flatten(1) if value.dim() > 1 else value.unsqueeze(-1) for value in values], dim=-1)
