"""The evidence lower bound, and changes of its parts: weights, annealing, free bits, capacity."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from pyrovae.checks import check_number
from pyrovae.errors import PairError, SettingError
from pyrovae.inference.objectives.objective import Objective
from pyrovae.inference.objectives.particles import Particles
from pyrovae.inference.objectives.rates import dimension_rates, latent_rates, total_rate
from pyrovae.inference.objectives.requirements import Requirement, check_factors
from pyrovae.inference.objectives.schedules import Schedule, at, check_weight
from pyrovae.inference.pair.scoring import Layout, spread
from pyrovae.inference.pair.tracing import PairTrace, sites, unscaled_log_prob

__all__ = ["ELBO"]


class ELBO(Objective):
    """E_q sum_i w_i log p(x_i | z) - kl_weight * sum_l KL_l, with KL_l the rate of the latent l given those above it.

    Args:
        num_particles: draws per data point.
        kl_weight: beta, a number or a schedule; 1 is the ELBO itself.
        free_bits: lambda, in nats. KL_l, its mean over the batch, becomes max(lambda, KL_l), so a rate below lambda has
            a constant cost.
        group: what lambda bounds: `"site"`, the rate of each latent, or `"dimension"`, that of each of its dimensions.
        capacity: C, a number or a schedule, in nats. The penalty becomes kl_weight * |KL - C|, where KL is the rate of
            all latents, its mean over the batch.
        site_weights: w_i by the name of an observed site, such as `{"y": 50.0}` for a label beside an image of hundreds
            of pixels; 1 for those that it does not name. Estimates of the ELBO stay unweighted.
        analytic: use the closed form of KL_l where there is one and the guide draws the latents above l before l.
            Elsewhere KL_l is estimated by log q - log p.
        log_prior: a function without arguments, which computes log p(theta) / N of parameters theta, a scalar, in nats
            per data point, up to a constant. It is added to the bound, so that training finds the most probable theta:
            `ELBO(log_prior=lambda: 50 * decoder.divergence())`. Estimates of the ELBO stay without it.

    Raises:
        SettingError: a negative number, or one that is not finite, or a prior that is no function.
        PairError: free bits and capacity together; a group of another name; at the first run, free bits per dimension
            for a latent whose prior or guide is not a product over dimensions, or a weight of a site that is not
            observed, or that a latent which is summed out lies above.

    References: Higgins et al. (2017) for beta; Bowman et al. (2016), arXiv:1511.06349, for annealing; Kingma et al.
    (2016), arXiv:1606.04934, for free bits; Burgess et al. (2018), arXiv:1804.03599, for capacity; Wu & Goodman (2018),
    arXiv:1802.05335, for weights of modalities.
    """

    def __init__(
        self,
        num_particles: int = 1,
        *,
        kl_weight: float | Schedule = 1.0,
        free_bits: float = 0.0,
        group: Literal["site", "dimension"] = "site",
        capacity: float | Schedule | None = None,
        site_weights: Mapping[str, float] | None = None,
        analytic: bool = False,
        log_prior: Callable[[], Tensor] | None = None,
    ) -> None:
        check_weight("kl_weight", kl_weight)
        check_number("free_bits", free_bits, 0)
        if capacity is not None:
            check_weight("capacity", capacity)
        by_dimension = bool(free_bits) and group == "dimension"
        weights = {name: check_number(f"site_weights[{name!r}]", w, 0) for name, w in (site_weights or {}).items()}
        requirements: list[Requirement] = [partial(_is_observed, names=[*weights]), *[_is_factorised] * by_dimension]
        couples = "which bounds the mean rate of a batch" if free_bits or capacity is not None else ""
        elbo = partial(_elbo, analytic=analytic)
        super().__init__(num_particles, elbo=elbo, requirements=requirements, couples=couples)
        if free_bits and capacity is not None:
            raise PairError(
                "ELBO requires free_bits or capacity, got both: each sets the rate at which the penalty ends. Write "
                "ELBO(free_bits=...) or ELBO(capacity=...)."
            )
        if not (log_prior is None or callable(log_prior)):
            raise SettingError(
                f"ELBO(log_prior=...) requires a function without arguments, got {log_prior!r}. Write "
                "log_prior=lambda: 50 * decoder.divergence()."
            )
        if group not in ("site", "dimension"):
            raise PairError(f"ELBO requires group='site' or group='dimension', got {group!r}.")
        self.kl_weight, self.free_bits, self.group = kl_weight, free_bits, group
        self.capacity, self.site_weights, self.analytic = capacity, weights, analytic
        self.log_prior = log_prior

    def bound(self, particles: Particles) -> Tensor:
        likelihood = particles.terms.log_likelihood.mean(0)
        for name, weight in self.site_weights.items():
            likelihood = likelihood + (weight - 1) * _log_prob(particles, name)
        if self.log_prior is not None:
            likelihood = likelihood + self.log_prior()
        return likelihood - at(self.kl_weight, self.step) * self._penalty(particles)

    def _penalty(self, particles: Particles) -> Tensor:
        """What kl_weight multiplies: `(B,)`, or one number for the batch."""
        if self.free_bits:
            means = self._means(particles)
            return torch.stack([mean.clamp_min(self.free_bits).sum() for mean in means]).sum()
        rate = total_rate(particles, self.analytic)
        return rate if self.capacity is None else (rate.mean() - at(self.capacity, self.step)).abs()

    def _means(self, particles: Particles) -> list[Tensor]:
        """For each latent the mean rate over the batch, a scalar, or those of its dimensions."""
        if self.group == "dimension":
            return dimension_rates(particles, self.analytic)
        return [rate.mean() for rate in latent_rates(particles, self.analytic).values()]

    def extra_repr(self) -> str:
        names = ("num_particles", "kl_weight", "free_bits", "group", "capacity", "site_weights", "analytic")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


def _elbo(particles: Particles, analytic: bool) -> Tensor:
    return particles.terms.log_likelihood.mean(0) - total_rate(particles, analytic)


def _log_prob(particles: Particles, name: str) -> Tensor:
    """log p(x_i | z) of an observed site, `(B,)`, the mean over the particles."""
    site = sites(particles.pair.model)[name]
    return spread(unscaled_log_prob(site), site, particles.shape, particles.depth, particles.full_size).mean(0)


def _is_observed(pair: PairTrace, layout: Layout, names: list[str]) -> None:
    """Each weighted site is an observed one, and no latent is summed out above it."""
    for name in names:
        if name not in pair.observed():
            raise PairError(
                f"ELBO(site_weights=...) requires names of observed sites, got '{name}'. The model observes "
                f"{', '.join(pair.observed()) or 'none'}."
            )
    if names and pair.undrawn():
        raise PairError(
            f"ELBO(site_weights=...) requires a guide that draws each latent, got '{pair.undrawn()[0]}', which is "
            "summed out. Draw it in the guide, or leave site_weights out."
        )


def _is_factorised(pair: PairTrace, layout: Layout) -> None:
    check_factors("ELBO(free_bits=..., group='dimension')", "Write ELBO(free_bits=..., group='site').", pair)
