"""The losses of the cells of benchmarks/speed.py without a probabilistic language: formulas on the pairs' networks."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from workloads import Workload

from pyrovae.numeric import bounded_scale


class Plain(nn.Module):
    """The loss, summed over the batch, as a function of the batch; its weights are those of the pair."""

    def __init__(self, work: Workload, model: nn.Module, guide: nn.Module) -> None:
        super().__init__()
        self.work, self.model, self.guide = work, model, guide
        losses: dict[str, Callable[[Tensor], Tensor]] = {
            "dense": self._vae,
            "conv": self._vae,
            "ladder": self._ladder,
            "flow": self._flow,
            "markov": self._markov,
        }
        self.loss = losses[work.architecture]

    def forward(self, x: Tensor) -> Tensor:
        return self.loss(x)

    def score(self, output: Tensor, x: Tensor) -> Tensor:
        """log p(x | z) per entry, of the output's shape."""
        if self.work.bernoulli:
            return -F.binary_cross_entropy_with_logits(output, x.expand_as(output), reduction="none")
        return -0.5 * ((output - x) ** 2 + math.log(2 * math.pi))

    def _vae(self, x: Tensor) -> Tensor:
        model, guide, particles = _parts(self.model), _parts(self.guide), self.work.num_particles
        loc, raw_scale = guide.encoder(x).chunk(2, -1)
        scale = bounded_scale(raw_scale)
        noise = torch.randn(*(particles, *loc.shape)[particles == 1 :], device=x.device)
        z = loc + scale * noise
        log_ratio = 0.5 * (noise**2 - z**2) + scale.log()
        scored = self.score(model.decoder(z), x)
        if particles == 1:
            return -scored.sum() - log_ratio.sum()
        log_weight = scored.flatten(2).sum(-1) + log_ratio.sum(-1)
        return -(log_weight.logsumexp(0) - math.log(particles)).sum()

    def _ladder(self, x: Tensor) -> Tensor:
        model, guide = _parts(self.model), _parts(self.guide)
        d, messages = x, []
        for encoder, message in zip(guide.encoders, guide.messages, strict=True):
            d = encoder(d)
            loc, raw_scale = message.network(d).chunk(2, -1)
            messages.append((loc, bounded_scale(raw_scale)))
        loc, scale = messages.pop()
        noise = torch.randn_like(loc)
        z = loc + scale * noise
        log_ratio = (0.5 * (noise**2 - z**2) + scale.log()).sum()
        h = model.first(z)
        for level in model.levels:
            prior_loc, raw_scale = level.conditional.network(h).chunk(2, -1)
            prior_scale, (loc, scale) = bounded_scale(raw_scale), messages.pop()
            precision, message = prior_scale**-2, scale**-2
            loc = (precision * prior_loc + message * loc) / (precision + message)
            scale = (precision + message).rsqrt()
            noise = torch.randn_like(loc)
            z = loc + scale * noise
            log_ratio = log_ratio + log_normal(z, prior_loc, prior_scale) + (0.5 * noise**2 + scale.log()).sum()
            h = level.step(h, z)
        return -self.score(model.decoder(h), x).sum() - log_ratio

    def _flow(self, x: Tensor) -> Tensor:
        model, guide = _parts(self.model), _parts(self.guide)
        loc, raw_scale, context = guide.encoder(x).split([guide.dim, guide.dim, guide.context], -1)
        scale = bounded_scale(raw_scale)
        noise = torch.randn_like(loc)
        z = loc + scale * noise
        log_ratio = (0.5 * noise**2 + scale.log()).sum()
        for step in guide.steps:
            z, log_det = step(z, context)
            log_ratio = log_ratio + log_det.sum()
        output = model.decoder(z)
        for step in reversed(model.prior.steps):
            z, log_det = step.inverse(z)
            log_ratio = log_ratio - log_det.sum()
        return -self.score(output, x).sum() - log_ratio + 0.5 * (z**2).sum()

    def _markov(self, x: Tensor) -> Tensor:
        model, guide = _parts(self.model), _parts(self.guide)
        h = guide.encoder.rnn(x.flip(1))[0].flip(1)
        z, log_ratio, path = guide.start.expand(len(x), -1), 0.0, []
        for t in range(x.shape[1]):
            loc, raw_scale = guide.combiner.outer((torch.tanh(guide.combiner.inner(z)) + h[:, t]) / 2).chunk(2, -1)
            scale = bounded_scale(raw_scale)
            noise = torch.randn_like(loc)
            z = loc + scale * noise
            log_ratio = log_ratio + (0.5 * noise**2 + scale.log()).sum()
            path.append(z)
        z = torch.stack(path, 1)
        before = torch.cat([model.start.expand_as(z[:, :1]), z[:, :-1]], 1)
        log_prior = log_normal(z, *gated(_parts(model.transition), before))
        return -self.score(model.decoder(z), x).sum() - log_ratio - log_prior


def _parts(module: nn.Module) -> Any:
    """A module whose attributes are known to exist."""
    return module


def log_normal(z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """log Normal(z; loc, scale), summed over everything, without the constant."""
    return (-0.5 * ((z - loc) / scale) ** 2 - scale.log()).sum()


def gated(transition: Any, z: Tensor) -> tuple[Tensor, Tensor]:
    """Loc and scale of `GatedTransition`."""
    to_gate, to_proposal = torch.relu(transition.hidden(z)).chunk(2, -1)
    gate, proposal = torch.sigmoid(transition.gate(to_gate)), transition.proposal(to_proposal)
    loc = torch.lerp(transition.linear(z), proposal, gate)
    return loc, bounded_scale(transition.raw_scale(torch.relu(proposal)))
