"""The rate of particles: of each latent, and of each of its dimensions."""

import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from pyrovae.inference.objectives.particles import Particles
from pyrovae.inference.pair.divergence import closed_kl, factors, in_both_orders
from pyrovae.inference.pair.scoring import spread

__all__ = ["dimension_rates", "latent_rates", "total_rate"]


def latent_rates(particles: Particles, analytic: bool) -> dict[str, Tensor]:
    """The rate of each latent given those above it, `(S, B)`.

    Args:
        particles: S draws for each data point.
        analytic: take the closed form where there is one that is right; otherwise the rate is log q - log p.
    """
    rates = {name: level.rate for name, level in particles.terms.levels.items()}
    for name in in_both_orders(particles.pair) if analytic else ():
        inner, outer = particles.pair.latent()[name]
        closed = closed_kl(inner["fn"], outer["fn"])
        if closed is not None:
            closed = scale_and_mask(closed, 1.0, inner["mask"])
            rates[name] = spread(closed, inner, particles.shape, particles.depth, particles.full_size)
    return rates


def total_rate(particles: Particles, analytic: bool) -> Tensor:
    """The rate of all latents, `(B,)`, the mean over the particles.

    Args:
        particles: S draws for each data point.
        analytic: as in `latent_rates`.
    """
    return torch.stack([rate.mean(0) for rate in latent_rates(particles, analytic).values()]).sum(0)


def dimension_rates(particles: Particles, analytic: bool) -> list[Tensor]:
    """For each latent the rates of its dimensions, means over particles and data points.

    Args:
        particles: S draws for each data point.
        analytic: as in `latent_rates`.

    Raises:
        PairError: a prior or a guide is not a product over dimensions.
    """
    closed = in_both_orders(particles.pair) if analytic else []
    asks = "A rate per dimension", "Write ELBO(free_bits=..., group='site')."
    means = []
    for name, (inner, outer) in particles.pair.latent().items():
        q, p = factors(inner, "guide", *asks), factors(outer, "model", *asks)
        rate = closed_kl(q, p) if name in closed else None
        if rate is None:
            rate = q.log_prob(inner["value"]) - p.log_prob(outer["value"])
        last = len(inner["fn"].batch_shape) - 1
        means.append(rate.mean((0, last) if last == particles.depth else last))
    return means
