"""Bounds of several weighted draws per data point: IWAE with its gradients, Renyi, and wake-sleep."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from pyrovae.checks import check_number
from pyrovae.errors import PairError
from pyrovae.inference.objectives.objective import Objective
from pyrovae.inference.objectives.particles import Particles, draw_particles
from pyrovae.inference.objectives.paths import draw_paths
from pyrovae.inference.objectives.rates import dimension_rates
from pyrovae.inference.objectives.requirements import Requirement, check_factors
from pyrovae.inference.pair.handlers import ChangeDraws
from pyrovae.inference.pair.scoring import Layout
from pyrovae.inference.pair.tracing import PairTrace, sites

__all__ = ["IWAE", "Renyi", "WakeSleep"]


class IWAE(Objective):
    """E log 1/S sum_s w_s, with w_s = p(x, z_s) / q(z_s | x): the importance-weighted bound, S = `num_particles`.

    The signal in the guide's gradient fades as S grows (Rainforth et al. 2018). The gradients `"stl"` and `"dreg"` cure
    that: they drop the guide's parameters from log q(z), and keep the gradient through the draws z alone. The model's
    gradient stays the same. Both need log q at a given z: a flow without an inverse has none, and that of an inverse
    autoregressive flow is slow.

    Args:
        num_particles: S; with one particle the bound is the ELBO.
        gradient: `"plain"` is the gradient of the bound. `"stl"` is sticking the landing: its noise vanishes where the
            guide is the posterior; it is unbiased for S = 1, and biased for more. `"dreg"` is doubly reparameterised,
            and unbiased for every S.
        free_bits: lambda, in nats for each latent dimension. sum_d max(0, lambda - KL_d) is subtracted from the bound,
            where KL_d is the mean over the batch, so that the draws keep depending on the data. With S = 1 this is the
            ELBO with these free bits per dimension.

    Raises:
        PairError: a gradient of another name; at the first run, free bits for a latent whose prior or guide is not a
            product over dimensions, or a guide without log q at a given z for `"stl"` and `"dreg"`.

    References: Burda et al. (2016), arXiv:1509.00519; Roeder et al. (2017), arXiv:1703.09194; Tucker et al. (2018),
    arXiv:1810.04152.
    """

    def __init__(
        self, num_particles: int, *, gradient: Literal["plain", "stl", "dreg"] = "plain", free_bits: float = 0.0
    ) -> None:
        if gradient not in ("plain", "stl", "dreg"):
            raise PairError(f"IWAE requires a gradient 'plain', 'stl' or 'dreg', got {gradient!r}.")
        check_number("free_bits", free_bits, 0)
        by_paths = gradient != "plain"
        requirements: list[Requirement] = [_is_factorised] if free_bits else []
        if by_paths:
            requirements.append(partial(_is_scored_anywhere, gradient=gradient, num_particles=num_particles))
        super().__init__(
            num_particles,
            independent=True,
            draw=partial(draw_paths, squared=gradient == "dreg") if by_paths else draw_particles,
            requirements=requirements,
            couples="whose free bits bound the mean rate of a batch" if free_bits else "",
        )
        self.gradient, self.free_bits = gradient, free_bits

    def bound(self, particles: Particles) -> Tensor:
        bound = _log_mean_exp(particles.terms.log_weight)
        if not self.free_bits:
            return bound
        rates = dimension_rates(particles, analytic=True)
        return bound - torch.stack([(self.free_bits - rate).clamp_min(0).sum() for rate in rates]).sum()

    def extra_repr(self) -> str:
        return f"num_particles={self.num_particles}, gradient={self.gradient!r}, free_bits={self.free_bits}"


def _is_factorised(pair: PairTrace, layout: Layout) -> None:
    check_factors("IWAE(free_bits=...)", "Write IWAE(...) without free_bits.", pair)


def _is_scored_anywhere(pair: PairTrace, layout: Layout, *, gradient: str, num_particles: int) -> None:
    """The guide scores any z: not only its own draw, which a flow remembers."""
    for name, site in sites(pair.guide).items():
        try:
            site["fn"].log_prob(site["value"].clone())
        except (NotImplementedError, KeyError) as error:
            raise PairError(
                f"gradient={gradient!r} requires log q(z) at a given z, and the guide's {type(site['fn']).__name__} at "
                f"site '{name}' has no inverse. Write IWAE({num_particles})."
            ) from error


class Renyi(Objective):
    """1 / (1 - alpha) log E_q w^(1 - alpha), estimated by S draws: the variational Renyi bound.

    Args:
        alpha: 1 is the ELBO, 0 the importance-weighted bound; below 0 it is an upper bound as S goes to infinity, and
            at minus infinity it is log max_s w_s.
        num_particles: S.

    Raises:
        SettingError: alpha is NaN or plus infinity.

    References: Li & Turner (2016), arXiv:1602.02311.
    """

    def __init__(self, alpha: float, num_particles: int) -> None:
        super().__init__(num_particles, independent=True)
        if not (isinstance(alpha, float) and alpha == -math.inf):
            check_number("alpha", alpha, write=0.5)
        self.alpha = alpha

    def bound(self, particles: Particles) -> Tensor:
        log_weight = particles.terms.log_weight
        if self.alpha == 1:
            return log_weight.mean(0)
        if self.alpha == -math.inf:
            return log_weight.amax(0)
        return _log_mean_exp((1 - self.alpha) * log_weight) / (1 - self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, num_particles={self.num_particles}"


class WakeSleep(Objective):
    """Reweighted wake-sleep: the model maximises log 1/S sum_s w_s, the guide sum_s v_s log q(z_s | x).

    The v_s are the weights w_s divided by their sum, so the guide approaches the posterior in KL(p(z | x) || q(z | x)).
    No gradient passes through a draw, so latents may be discrete. The value of the loss is minus the model's bound.

    Args:
        num_particles: S, at least 2: with one draw v = 1, and the guide only learns to repeat itself.

    Raises:
        PairError: num_particles < 2.

    References: Bornschein & Bengio (2015), arXiv:1406.2751; Le et al. (2019), arXiv:1805.10469 (wake-theta, wake-phi).
    """

    def __init__(self, num_particles: int) -> None:
        super().__init__(num_particles, independent=True, reparameterised=False, draw=_draw_detached)
        if num_particles < 2:
            raise PairError(
                f"WakeSleep requires num_particles >= 2, got {num_particles}: it weighs draws against each other. "
                "Write WakeSleep(num_particles=10)."
            )

    def bound(self, particles: Particles) -> Tensor:
        terms = particles.terms
        weights = terms.log_weight.detach().softmax(0)
        climbs = (weights * (terms.log_likelihood + terms.log_prior + terms.log_guide)).sum(0)
        return _log_mean_exp(terms.log_weight).detach() + climbs - climbs.detach()

    def extra_repr(self) -> str:
        return f"num_particles={self.num_particles}"


def _draw_detached(model: Callable[[], Any], guide: Callable[[], Any], num_particles: int, depth: int) -> Particles:
    """Particles through whose draws no gradient passes."""
    return draw_particles(model, guide, num_particles, depth, in_guide=ChangeDraws(lambda msg: msg["value"].detach()))


def _log_mean_exp(log_weight: Tensor) -> Tensor:
    """The mean over draws per data point, `(S, B)` to `(B,)`."""
    return log_weight.logsumexp(0) - math.log(len(log_weight))
