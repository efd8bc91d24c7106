"""Particles whose log-weights reach the guide's parameters through the draws alone: path gradients."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyrovae.inference.objectives.particles import Particles, draw_particles
from pyrovae.inference.pair.contract import Site
from pyrovae.inference.pair.handlers import ChangeDraws
from pyrovae.inference.pair.scoring import spread
from pyrovae.inference.pair.tracing import sites

__all__ = ["draw_paths"]


def draw_paths(
    model: Callable[[], Any], guide: Callable[[], Any], num_particles: int, depth: int, *, squared: bool
) -> Particles:
    """`draw_particles`, where log q depends on the guide's parameters through the draws alone.

    Args:
        model, guide: the programs, with their arguments bound.
        num_particles: S, draws per data point, vectorised.
        depth: how many dimensions the plates of the pair take.
        squared: whether the weights of the particles enter the guide's gradient squared (doubly reparameterised).
    """
    if not torch.is_grad_enabled():
        return draw_particles(model, guide, num_particles, depth)
    paths = _Paths(squared=squared and num_particles > 1)
    particles = draw_particles(model, guide, num_particles, depth, in_guide=paths.guide, in_model=paths.model)
    return paths.of(particles)


class _Paths:
    """Gradients of a log-weight that reach the guide through the draws alone, in one run of the pair.

    Each draw passes a gate on its way to the rest of the guide. While the gates are shut, log q is differentiated by
    the draws. That derivative is the direct dependence of log q on the draws, including that of a lower latent's
    distribution on the draw above it. Then log q is replaced by its value and a linear function of the draws with that
    gradient, which depends on no parameter of the guide, and the gates are opened. The model and the linear function
    see each draw through a second gate. There the gradient, which carries the weight v, is multiplied by v once more if
    it is to be squared (doubly reparameterised). Each path from log w to a parameter passes exactly one second gate.

    Args:
        squared: whether to multiply by v once more.
    """

    def __init__(self, *, squared: bool) -> None:
        self.squared = squared
        self.open = False
        self.drawn: dict[str, Tensor] = {}  # as the guide sees them
        self.scored: dict[str, Tensor] = {}  # as the model sees them
        self.weights = torch.ones(())
        self.guide = ChangeDraws(self._draw)
        self.model = ChangeDraws(lambda msg: self.scored.get(msg["name"], msg["value"]))

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

    def of(self, particles: Particles) -> Particles:
        """The particles, with log q as a function of the draws alone."""
        terms, guide = particles.terms, sites(particles.pair.guide)
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
                path = spread(linear, guide[name], particles.shape, particles.depth, None)
            levels[name] = level._replace(log_guide=level.log_guide.detach() + path)
        return particles._replace(terms=terms._replace(levels=levels))

    def _direct(self, log_guide: Tensor) -> dict[str, Tensor]:
        """The gradient of log q by each draw, where all other draws and the parameters are held fixed."""
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
