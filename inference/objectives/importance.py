"""Bounds of several draws, weighed per datum: IWAE with its gradients, Renyi, and wake-sleep."""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from pyrovae.errors import PairError
from pyrovae.inference.objectives.elbo import check_factors, per_dimension
from pyrovae.inference.objectives.objective import Draws, Objective
from pyrovae.inference.pair.contract import Site
from pyrovae.inference.pair.handlers import ChangeDraws
from pyrovae.inference.pair.scoring import Layout, spread
from pyrovae.inference.pair.tracing import PairTrace, sites

__all__ = ["IWAE", "Renyi", "WakeSleep"]


class IWAE(Objective):
    """E log 1/S sum_s w_s, with w_s = p(x, z_s) / q(z_s | x): the importance-weighted bound, S = `num_particles`.

    The gradient's signal for the guide fades with S (Rainforth et al. 2018); two others cure that. Both drop the
    guide's parameters from log q(z), and let its gradient through the draws z alone. The model's gradient stays.

    Args:
        num_particles: S; one is the ELBO.
        gradient: `"plain"`, that of the bound; `"stl"`, sticking the landing, whose noise vanishes where the guide is
            the posterior, and which is unbiased for S = 1 and biased for more; `"dreg"`, doubly reparameterised,
            unbiased for every S.
        free_bits: lambda, in nats for each latent dimension: the bound is less by sum_d max(0, lambda - KL_d), KL_d
            being the mean over the batch, so that the draws do not learn to do without the data. With S = 1 it is the
            ELBO of these free bits per dimension.

    Raises:
        PairError: a gradient of another name; free bits at a site whose prior or guide is not a product over
            dimensions; a guide without log q at a given z, for the two gradients.

    The two want log q at a given z: a flow without an inverse has none, and an inverse autoregressive one is slow.

    References: Burda et al. (2016), arXiv:1509.00519; Roeder et al. (2017), arXiv:1703.09194; Tucker et al. (2018),
    arXiv:1810.04152.
    """

    independent = True

    def __init__(
        self, num_particles: int, *, gradient: Literal["plain", "stl", "dreg"] = "plain", free_bits: float = 0.0
    ) -> None:
        super().__init__(num_particles)
        self.free_bits = free_bits
        if gradient not in ("plain", "stl", "dreg"):
            raise PairError(f"gradient is 'plain', 'stl' or 'dreg', got {gradient!r}.")
        self.gradient = gradient

    def draw(self, model: Callable[[], Any], guide: Callable[[], Any], **handlers: Any) -> Draws:
        if self.gradient == "plain" or not torch.is_grad_enabled():
            return super().draw(model, guide, **handlers)
        paths = _Paths(squared=self.gradient == "dreg" and self.num_particles > 1)
        draws = super().draw(model, guide, in_guide=paths.guide, in_model=paths.model, **handlers)
        return paths.of(draws, self._depth)

    def bound(self, draws: Draws) -> Tensor:
        bound = _log_mean_exp(draws.terms.log_weight)
        if not self.free_bits:
            return bound
        rates = per_dimension(draws, self._depth, analytic=True)
        return bound - torch.stack([(self.free_bits - rate).clamp_min(0).sum() for rate in rates]).sum()

    def check(self, pair: PairTrace, layout: Layout) -> None:
        super().check(pair, layout)
        if self.free_bits:
            check_factors(pair)
        for name, site in sites(pair.guide).items() if self.gradient != "plain" else ():
            try:
                site["fn"].log_prob(site["value"].clone())  # no longer the draw that a flow remembers
            except (NotImplementedError, KeyError) as error:
                raise PairError(
                    f"gradient={self.gradient!r} wants log q(z) at a given z, and the guide's "
                    f"{type(site['fn']).__name__} at site '{name}' has no inverse. Write IWAE({self.num_particles})."
                ) from error

    def extra_repr(self) -> str:
        return f"num_particles={self.num_particles}, gradient={self.gradient!r}, free_bits={self.free_bits}"


class Renyi(Objective):
    """1 / (1 - alpha) log E_q w^(1 - alpha), estimated by S draws: the variational Renyi bound.

    Args:
        alpha: 1 is the ELBO, 0 the importance-weighted bound; below 0 it bounds from above, for S to infinity.
        num_particles: S.

    References: Li & Turner (2016), arXiv:1602.02311.
    """

    independent = True

    def __init__(self, alpha: float, num_particles: int) -> None:
        super().__init__(num_particles)
        self.alpha = alpha

    def bound(self, draws: Draws) -> Tensor:
        log_weight = draws.terms.log_weight
        if self.alpha == 1:
            return log_weight.mean(0)
        return _log_mean_exp((1 - self.alpha) * log_weight) / (1 - self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, num_particles={self.num_particles}"


class WakeSleep(Objective):
    """Reweighted wake-sleep: the model climbs log 1/S sum_s w_s, the guide climbs sum_s v_s log q(z_s | x), where the
    v are the weights w made to sum to one. So the guide comes near the posterior in KL(p(z | x) || q(z | x)).

    No gradient goes through a draw, so latents may be discrete. The loss's value is minus the first of the two.

    Args:
        num_particles: S, at least 2: with one draw v = 1, and the guide learns nothing but to repeat itself.

    Raises:
        PairError: num_particles < 2.

    References: Bornschein & Bengio (2015), arXiv:1406.2751; Le et al. (2019), arXiv:1805.10469 (wake-theta, wake-phi).
    """

    reparameterised = False
    independent = True

    def __init__(self, num_particles: int) -> None:
        super().__init__(num_particles)
        if num_particles < 2:
            raise PairError(f"WakeSleep weighs draws against each other: num_particles >= 2, got {num_particles}.")

    def draw(self, model: Callable[[], Any], guide: Callable[[], Any], **handlers: Any) -> Draws:
        # No gradient goes through a draw.
        return super().draw(model, guide, in_guide=ChangeDraws(lambda msg: msg["value"].detach()), **handlers)

    def bound(self, draws: Draws) -> Tensor:
        terms = draws.terms
        weights = terms.log_weight.detach().softmax(0)
        climbs = (weights * (terms.log_likelihood + terms.log_prior + terms.log_guide)).sum(0)
        return _log_mean_exp(terms.log_weight).detach() + climbs - climbs.detach()

    def extra_repr(self) -> str:
        return f"num_particles={self.num_particles}"


def _log_mean_exp(log_weight: Tensor) -> Tensor:
    """Per datum, `(S, B)` to `(B,)`."""
    return log_weight.logsumexp(0) - math.log(len(log_weight))


class _Paths:
    """Gradients of a log-weight that reach the guide through the draws alone, in one run of the pair.

    Each draw passes a gate on its way to the rest of the guide. With the gates shut, log q is differentiated by the
    draws: that is its direct dependence, also of a lower level's distribution on the draw above it. Then log q is
    replaced by its value and a linear function of the draws with that gradient, which no parameter of the guide
    enters, and the gates are opened. Model and linear function see each draw through a second gate: there the
    gradient, which carries the weight v, is multiplied by v once more if it is to be squared (doubly
    reparameterised). Each path from log w to a parameter passes one second gate.
    """

    def __init__(self, *, squared: bool) -> None:
        self.squared = squared
        self.open = False
        self.drawn: dict[str, Tensor] = {}  # as the guide sees them
        self.scored: dict[str, Tensor] = {}  # as the model sees them
        self.weights = torch.ones(())
        self.guide, self.model = (
            ChangeDraws(self._draw),
            ChangeDraws(lambda msg: self.scored.get(msg["name"], msg["value"])),
        )

    def _draw(self, msg: Site) -> Tensor:
        value: Tensor = msg["value"]
        if not value.requires_grad:
            return value
        value.register_hook(lambda gradient: gradient if self.open else torch.zeros_like(gradient))
        drawn = value.clone()
        scored = drawn.clone()
        if self.squared:
            event = msg["fn"].event_dim
            scored.register_hook(lambda gradient: gradient * _like(self.weights, gradient, event))
        self.drawn[msg["name"]], self.scored[msg["name"]] = drawn, scored
        return drawn

    def of(self, draws: Draws, depth: int) -> Draws:
        """The draws, with log q as a function of them alone."""
        terms, guide = draws.terms, sites(draws.pair.guide)
        gradients = self._direct(terms.log_guide)
        self.open = True
        self.weights = terms.log_weight.detach().softmax(0)
        levels = {}
        for name, level in terms.levels.items():
            path = torch.zeros_like(level.log_guide)
            if name in gradients:
                scored, event = self.scored[name], guide[name]["fn"].event_dim
                linear = gradients[name] * (scored - scored.detach())
                linear = linear.sum(tuple(range(-event, 0))) if event else linear
                path = spread(linear, guide[name], draws.shape, depth, None)
            levels[name] = level._replace(log_guide=level.log_guide.detach() + path)
        return draws._replace(terms=terms._replace(levels=levels))

    def _direct(self, log_guide: Tensor) -> dict[str, Tensor]:
        """The gradient of log q by each draw, all other draws and the parameters held fixed."""
        if not self.drawn or not log_guide.requires_grad:
            return {}
        values = list(self.drawn.values())
        gradients = torch.autograd.grad(log_guide.sum(), values, retain_graph=True, allow_unused=True)
        return {name: g for name, g in zip(self.drawn, gradients, strict=True) if g is not None}


def _like(weights: Tensor, gradient: Tensor, event: int) -> Tensor:
    """Weights `(S, B)` as a factor of a gradient `(S, *plates, B, *event)`."""
    samples, batch = weights.shape
    between = gradient.dim() - event - 2
    return weights.reshape(samples, *[1] * between, batch, *[1] * event)
