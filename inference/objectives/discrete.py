"""The ELBO of pairs whose guide draws discrete latents: summed out exactly, relaxed, or by the score function."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import constraints

from pyrovae.checks import check_choice, check_positive
from pyrovae.errors import PairError
from pyrovae.inference.objectives.objective import Objective
from pyrovae.inference.objectives.particles import Particles, draw_particles
from pyrovae.inference.objectives.rates import total_rate
from pyrovae.inference.objectives.schedules import Schedule, at, check_weight
from pyrovae.inference.pair.contract import Site
from pyrovae.inference.pair.scoring import LatentTerms, Layout, Terms
from pyrovae.inference.pair.tracing import PairTrace, sites, unscaled_log_prob

__all__ = ["Enumerated", "Relaxed", "ScoreFunction"]

ONE_HOT = "Draw it from OneHotCategorical(logits=...), or write ScoreFunction(num_particles=8)."


class Enumerated(Objective):
    """sum_c q(c | x) E_q(z | x, c) [log p(x, c, z) - log q(c, z | x)]: the ELBO, discrete latents c summed out exactly.

    All values of the latents of finite support that the guide draws are scored in one run, weighted by q(c | x). Its
    gradient has no noise from c; it costs as many draws as there are values, K_1 * K_2 * ... for several latents.

    Args:
        num_particles: draws of the other latents for each value of c.
        kl_weight: weight of the rate, a number or a schedule; 1 is the ELBO itself.

    Raises:
        SettingError: a weight that is negative or not finite.
        PairError: at the first run, a guide without such a latent, one of them outside the plate "data" or in an inner
            plate, a draw of another latent that is not differentiable, or a latent that the guide does not draw.

    References: Kingma et al. (2014), arXiv:1406.5298, section 3.1.3.
    """

    def __init__(self, num_particles: int = 1, *, kl_weight: float | Schedule = 1.0) -> None:
        check_weight("kl_weight", kl_weight)
        requirements = [_has_finite]
        super().__init__(
            num_particles,
            independent=True,
            reparameterised=False,
            draw=_draw_enumerated,
            requirements=requirements,
        )
        self.kl_weight = kl_weight

    def bound(self, particles: Particles) -> Tensor:
        return _weighted(particles, at(self.kl_weight, self.step)).mean(0)

    def extra_repr(self) -> str:
        return f"num_particles={self.num_particles}, kl_weight={self.kl_weight}"


class Relaxed(Objective):
    """The ELBO with each one-hot draw c replaced by a point of the simplex, softmax((log q(c | x) + g) / temperature).

    g is Gumbel noise. As the temperature goes to 0 the draws become those of q(c | x); at any temperature they are
    differentiable. The objective is E log p(x | c, z) - KL(q(c | x) || p(c)) - ..., with the rate of the categorical
    distributions, not of the relaxed ones. It is a biased surrogate, and no bound. The tracked ELBO is that of discrete
    draws.

    Args:
        temperature: above 0, a number or a schedule, such as `Linear(1.0, 0.3, 5000)`.
        num_particles: draws per data point.
        kl_weight: weight of the rate, a number or a schedule.
        hard: straight-through: the programs get the nearest one-hot vector, and its gradient is that of the relaxed
            draw. Otherwise the programs get relaxed draws, and a second run without gradients tracks the ELBO.

    Raises:
        SettingError: a temperature of 0 or below, or a weight that is negative or not finite.
        PairError: at the first run, a guide without a discrete latent, or with one that is not a OneHotCategorical.

    References: Jang et al. (2017), arXiv:1611.01144; Maddison et al. (2017), arXiv:1611.00712.
    """

    def __init__(
        self,
        temperature: float | Schedule = 0.5,
        num_particles: int = 1,
        *,
        kl_weight: float | Schedule = 1.0,
        hard: bool = False,
    ) -> None:
        if not callable(temperature):
            check_positive("temperature", temperature, write=0.5)
        check_weight("kl_weight", kl_weight)
        check_choice("hard", hard, (False, True))
        draw = partial(_draw_relaxed, temperature=self._temperature, hard=hard)
        super().__init__(
            num_particles, reparameterised=False, draw=draw, elbo=_discrete_elbo, requirements=[_has_one_hot]
        )
        self.temperature, self.kl_weight, self.hard = temperature, kl_weight, hard

    def bound(self, particles: Particles) -> Tensor:
        rate = total_rate(particles, analytic=True)
        return particles.terms.log_likelihood.mean(0) - at(self.kl_weight, self.step) * rate

    def _temperature(self) -> float | Tensor:
        return at(self.temperature, self.step)

    def extra_repr(self) -> str:
        return f"{self.temperature}, {self.num_particles}, kl_weight={self.kl_weight}, hard={self.hard}"


class ScoreFunction(Objective):
    """The ELBO, whose gradient with respect to q(c | x) is E (f - b) d log q(c | x), for any discrete latent c.

    f is the log-weight of a draw; draws of continuous latents keep their pathwise gradient. The baseline b of a draw
    is the mean of f over the other draws of the same data point. It does not depend on the draw, so the gradient is
    unbiased, and its variance falls.

    Args:
        num_particles: S, draws per data point.
        kl_weight: weight of the rate, a number or a schedule.
        baseline: `"leave-one-out"`, or `"none"` for b = 0.

    Raises:
        SettingError: a weight that is negative or not finite, or a baseline of another name.
        PairError: num_particles < 2 with a baseline; at the first run, a guide all of whose draws are differentiable.

    References: Williams (1992), doi:10.1007/BF00992696; Mnih & Rezende (2016), arXiv:1602.06725; Kool et al. (2019),
    Buy 4 REINFORCE samples, get a baseline for free!
    """

    def __init__(
        self,
        num_particles: int,
        *,
        kl_weight: float | Schedule = 1.0,
        baseline: Literal["leave-one-out", "none"] = "leave-one-out",
    ) -> None:
        check_weight("kl_weight", kl_weight)
        check_choice("baseline", baseline, ("leave-one-out", "none"))
        super().__init__(num_particles, independent=True, reparameterised=False, requirements=[_has_discrete])
        if baseline != "none" and num_particles < 2:
            raise PairError(
                f"ScoreFunction requires num_particles >= 2, got {num_particles}: its baseline is the mean of the "
                "other draws. Write ScoreFunction(num_particles=8)."
            )
        self.kl_weight, self.baseline = kl_weight, baseline

    def bound(self, particles: Particles) -> Tensor:
        value = _weighted(particles, at(self.kl_weight, self.step))
        guide, levels = sites(particles.pair.guide), particles.terms.levels
        score = sum(level.log_guide for name, level in levels.items() if not guide[name]["fn"].has_rsample)
        baseline: Tensor | float = 0.0
        if self.baseline != "none":
            baseline = (value.sum(0) - value) / (len(value) - 1)
        climbs = (value - baseline).detach() * score
        return (value + climbs - climbs.detach()).mean(0)

    def extra_repr(self) -> str:
        return f"{self.num_particles}, kl_weight={self.kl_weight}, baseline={self.baseline!r}"


def _weighted(particles: Particles, kl_weight: float | Tensor) -> Tensor:
    """The log-weight of each draw with its rate multiplied, `(S, B)`."""
    terms = particles.terms
    return terms.log_likelihood - kl_weight * (terms.log_guide - terms.log_prior)


# Enumeration -----------------------------------------------------------------------------------------------------


class _Mark(Messenger):
    """Marks the latents of finite support for enumeration."""

    def _pyro_sample(self, msg: Site) -> None:
        if not (msg["is_observed"] or msg["done"] or site_is_subsample(msg)) and _finite(msg):
            msg["infer"] = {**msg["infer"], "enumerate": "parallel"}


@contextmanager
def _enumerating(depth: int) -> Iterator[None]:
    with poutine.enum(first_available_dim=-depth - 2), _Mark():
        yield


def _draw_enumerated(model: Callable[[], Any], guide: Callable[[], Any], num_particles: int, depth: int) -> Particles:
    """Particles whose terms are means over the values of the discrete latents, weighted by their probability."""
    particles = draw_particles(model, guide, num_particles, depth, in_guide=_enumerating(depth))
    terms, guide_sites = particles.terms, sites(particles.pair.guide)
    finite = [level.log_guide for name, level in terms.levels.items() if _finite(guide_sites[name])]
    weights = sum(finite, torch.zeros_like(finite[0])).exp()

    def mean(term: Tensor) -> Tensor:
        return (weights * term).flatten(0, -3).sum(0)

    levels = {n: LatentTerms(mean(level.log_prior), mean(level.log_guide)) for n, level in terms.levels.items()}
    return particles._replace(terms=Terms(mean(terms.log_likelihood), levels))


# Relaxation ------------------------------------------------------------------------------------------------------


class _Soft(dist.OneHotCategorical):
    """log p(c) = sum_k c_k log p_k for c in the simplex; at its corners, that of the categorical distribution."""

    support: Any = constraints.simplex
    has_rsample = True

    def log_prob(self, value: Tensor) -> Tensor:
        return (value * self.logits).sum(-1)


class _Soften(Messenger):
    """Scores one-hot latents in the whole simplex, and replaces their draws by relaxed ones.

    Args:
        temperature: that of the draws; None keeps their values.
        hard: whether the value is the nearest one-hot vector.
    """

    def __init__(self, temperature: float | Tensor | None = None, *, hard: bool = False) -> None:
        super().__init__()
        self.temperature, self.hard = temperature, hard

    def _pyro_post_sample(self, msg: Site) -> None:
        if msg["is_observed"] or not isinstance(msg["fn"], dist.OneHotCategorical):
            return
        msg["fn"] = _Soft(logits=msg["fn"].logits, validate_args=False)
        if self.temperature is not None:
            msg["value"] = _gumbel_softmax(msg["fn"].logits, self.temperature, self.hard)


def _gumbel_softmax(logits: Tensor, temperature: float | Tensor, hard: bool) -> Tensor:
    uniform = torch.rand_like(logits).clamp_min(torch.finfo(logits.dtype).tiny)
    soft = ((logits - (-uniform.log()).log()) / temperature).softmax(-1)
    if not hard:
        return soft
    corner = (soft == soft.amax(-1, keepdim=True)).to(soft.dtype)
    return corner + soft - soft.detach()


def _draw_relaxed(
    model: Callable[[], Any],
    guide: Callable[[], Any],
    num_particles: int,
    depth: int,
    *,
    temperature: Callable[[], float | Tensor],
    hard: bool,
) -> Particles:
    """Particles of relaxed draws; if not hard, with the terms of discrete draws beside."""
    softened = _Soften(temperature(), hard=hard)
    particles = draw_particles(model, guide, num_particles, depth, in_guide=softened, in_model=_Soften())
    if hard:
        return particles
    with torch.no_grad():
        return particles._replace(discrete=draw_particles(model, guide, num_particles, depth).terms)


def _discrete_elbo(particles: Particles) -> Tensor:
    return (particles.discrete or particles.terms).log_weight.mean(0)


# Requirements ----------------------------------------------------------------------------------------------------


def _finite(site: Site) -> bool:
    return bool(getattr(site["fn"], "has_enumerate_support", False))


def _discrete_sites(what: str, pair: PairTrace) -> list[Site]:
    """The guide's draws that are not differentiable, at least one."""
    guide = sites(pair.guide)
    found = [site for site in guide.values() if not site["fn"].has_rsample]
    if not found:
        raise PairError(
            f"{what} requires a discrete latent in the guide, got {', '.join(map(repr, guide)) or 'no site'}, whose "
            "draws are differentiable. Write ELBO()."
        )
    return found


def _has_discrete(pair: PairTrace, layout: Layout) -> None:
    _discrete_sites("ScoreFunction", pair)


def _has_one_hot(pair: PairTrace, layout: Layout) -> None:
    for site in _discrete_sites("Relaxed", pair):
        if not isinstance(site["fn"], dist.OneHotCategorical) and unscaled_log_prob(site).requires_grad:
            raise PairError(
                f"Relaxed requires one-hot latents, got the guide's site '{site['name']}', which draws from "
                f"{type(site['fn']).__name__}. {ONE_HOT}"
            )


def _has_finite(pair: PairTrace, layout: Layout) -> None:
    for site in _discrete_sites("Enumerated", pair):
        if not _finite(site) and unscaled_log_prob(site).requires_grad:
            raise PairError(
                f"Enumerated requires latents of finite support, got the guide's site '{site['name']}', which draws "
                f"from {type(site['fn']).__name__}. Write ScoreFunction(num_particles=8)."
            )
        frames = [frame.name for frame in site["cond_indep_stack"]]
        if _finite(site) and frames != ["data"]:
            raise PairError(
                f"Enumerated requires discrete latents directly in the plate 'data', got site '{site['name']}' in the "
                f"plates {frames}. Write ScoreFunction(num_particles=8)."
            )
    if pair.undrawn():
        raise PairError(
            f"Enumerated requires a guide that draws each latent, got none of {', '.join(map(repr, pair.undrawn()))}, "
            "which the model sums out. Write ELBO() with a guide of the other latents, or draw it in the guide."
        )
