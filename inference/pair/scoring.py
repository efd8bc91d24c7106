"""Scoring."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.pair.contract import Batch, ProgramLike, Site, batch_size, call
from pyrovae.inference.pair.tracing import PairTrace, sites, unscaled_log_prob

__all__ = [
    "NOT_INDEPENDENT",
    "Layout",
    "Level",
    "Terms",
    "depth_of",
    "is_global",
    "layout",
    "log_terms",
    "run_pair",
    "samples_plate",
    "scores",
    "spread",
    "summed_out",
    "terms_of",
]


NOT_INDEPENDENT = (
    "a latent of the pair is outside the plate 'data', so the data are not independent and log p(x) of one "
    "datum does not exist. Condition on it (pyro.condition), or move it into the plate."
)


class Level(NamedTuple):
    """What one latent site adds to a log-weight, each of shape `(S, B)`, in nats."""

    log_prior: Tensor
    log_guide: Tensor

    @property
    def rate(self) -> Tensor:
        return self.log_guide - self.log_prior


class Terms(NamedTuple):
    """The parts of a log-weight, each of shape `(S, B)`, in nats; `levels` by latent site of the guide."""

    log_likelihood: Tensor
    levels: dict[str, Level]

    @property
    def log_prior(self) -> Tensor:
        return sum((level.log_prior for level in self.levels.values()), torch.zeros_like(self.log_likelihood))

    @property
    def log_guide(self) -> Tensor:
        return sum((level.log_guide for level in self.levels.values()), torch.zeros_like(self.log_likelihood))

    @property
    def log_weight(self) -> Tensor:
        return self.log_likelihood + self.log_prior - self.log_guide


class Layout(NamedTuple):
    """How many dimensions the plates of a pair take, and whether a latent lies outside the plate "data"."""

    depth: int
    has_global: bool


def layout(pair: PairTrace) -> Layout:
    """The layout of a pair, read off one run of it.

    Raises:
        PairError: a latent of the model that no guide draws and that cannot be summed out.
    """
    for name in pair.undrawn():
        _check_enumerable(name, sites(pair.model)[name])
    return Layout(depth_of(*pair), any(is_global(site) for _, site in pair.latent().values()))


def depth_of(*traces: Trace) -> int:
    """How many dimensions the plates of these runs take."""
    frames = [f for trace in traces for site in sites(trace).values() for f in site["cond_indep_stack"]]
    return max((-frame.dim for frame in frames if frame.dim is not None), default=1)


def samples_plate(num_samples: int, depth: int) -> AbstractContextManager[Any]:
    """The plate of the draws, left of the pair's own; one draw needs none, and so no more of the networks."""
    return pyro.plate("samples", num_samples, dim=-depth - 1) if num_samples > 1 else nullcontext()


def _check_enumerable(name: str, site: Site) -> None:
    """A latent that the guide leaves out is summed out exactly: it must be finite, marked, and one for a datum."""
    if site["infer"].get("enumerate") != "parallel":
        raise PairError(
            f"the guide draws no '{name}', so there is no weight. Add pyro.sample('{name}', ...) to the guide; or, if "
            'it takes finitely many values, sum it out with infer={"enumerate": "parallel"} in the model.'
        )
    if not site["fn"].has_enumerate_support:
        raise PairError(
            f"site '{name}' is marked for enumeration, but {type(site['fn']).__name__} has no finite support. Draw it "
            "in the guide."
        )
    frames = [frame.name for frame in site["cond_indep_stack"]]
    if frames != ["data"] or site["infer"].get("_markov_scope") is not None:
        raise PairError(
            f"site '{name}' is to be summed out, and is in the plates {frames}, or in pyro.markov: only a latent of "
            "one datum, directly in the plate 'data', can be. Draw it in the guide, or train with TraceEnum_ELBO()."
        )


def run_pair(
    model: Callable[[], Any],
    guide: Callable[[], Any],
    num_samples: int = 1,
    depth: int = 1,
    *,
    in_guide: AbstractContextManager[Any] | None = None,
    in_model: AbstractContextManager[Any] | None = None,
) -> PairTrace:
    """Draw `num_samples` times from the guide, vectorised, and score the draws.

    Latents that the guide leaves out are enumerated, in dimensions left of the samples. The two handlers see each
    site before it is written down, and may change its value.
    """
    with samples_plate(num_samples, depth):
        with in_guide or nullcontext(), poutine.trace() as inner:
            guide()
        replayed = poutine.replay(trace=inner.trace)
        with (
            in_model or nullcontext(),
            poutine.enum(first_available_dim=-depth - 2),
            poutine.trace() as outer,
            replayed,
        ):
            model()
    return PairTrace(inner.trace, outer.trace)


def log_terms(
    model: ProgramLike, guide: ProgramLike, batch: Batch, num_samples: int, depth: int = 1, **extra: Any
) -> Terms:
    """Draw `num_samples` times from the guide, vectorised, and score: terms of shape `(S, B)`."""
    run = partial(call, batch=batch, **extra)
    pair = run_pair(partial(run, model), partial(run, guide), num_samples, depth)
    return terms_of(pair, (num_samples, batch_size(batch)), depth, extra.get("data_size"))


def terms_of(
    pair: PairTrace,
    shape: tuple[int, int],
    depth: int,
    data_size: int | None,
    of_model: dict[str, Tensor] | None = None,
) -> Terms:
    """Sum the log-probabilities per draw and datum; a latent of all data is shared out over `data_size`.

    `of_model` are the `scores` of the model's trace, where they are known already.
    """
    scored = summed_out(of_model or scores(pair.model, shape, depth, data_size), pair.undrawn())
    of_guide = scores(pair.guide, shape, depth, data_size)
    likelihood = [scored[name] for name in pair.observed()]
    zero = torch.zeros((), device=likelihood[0].device).expand(shape) if likelihood else torch.zeros(shape)
    levels = {name: Level(scored.get(name, zero), log_guide) for name, log_guide in of_guide.items()}
    return Terms(sum(likelihood, zero), levels)


def scores(trace: Trace, shape: tuple[int, int], depth: int, data_size: int | None) -> dict[str, Tensor]:
    """log p(site | sites before it) of each site, per draw and datum, `(*enumerated, S, B)`.

    Raises:
        ShapeError: a site has dimensions of its own left of those of the draws.
    """
    found = sites(trace)
    enumerated = {site["infer"].get("_enumerate_dim") for site in found.values()}
    result = {}
    for name, site in found.items():
        log_prob = unscaled_log_prob(site)
        extra = range(-log_prob.dim(), -depth - 1)
        if any(log_prob.shape[dim] != 1 and dim not in enumerated for dim in extra):
            raise ShapeError(
                f"site '{name}' has log-probabilities of shape {tuple(log_prob.shape)} in a run of {shape[0]} draws: "
                f"the draws are a plate at dim={-depth - 1}, and there is something left of it. A latent drawn outside "
                f"an inner plate has shape {(shape[0], *[1] * (depth - 1), shape[1])} there, and broadcasts by itself: "
                "leave out unsqueeze, and count dimensions from the right."
            )
        result[name] = spread(log_prob, site, shape, depth, data_size)
    return result


def spread(log_prob: Tensor, site: Site, shape: tuple[int, int], depth: int, data_size: int | None) -> Tensor:
    """A site's log-probability per draw and datum, `(*enumerated, S, B)`, inner plates summed."""
    log_prob = log_prob.reshape((1,) * (depth + 1 - log_prob.dim()) + log_prob.shape)
    if depth > 1:
        log_prob = log_prob.sum(tuple(range(-depth, -1)))
    if is_global(site):
        log_prob = log_prob.sum(-1, keepdim=True) / (data_size or shape[1])
    return log_prob.expand(log_prob.shape[:-2] + shape)


def summed_out(log_probs: dict[str, Tensor], enumerated: list[str]) -> dict[str, Tensor]:
    """Of the model's sites in their order, log p(site | sites before it), the enumerated ones summed out.

    By the chain rule: log p(s_1 ... s_i) = logsumexp over the enumerated latents c of log p(c, s_1 ... s_i), and the
    differences of these are the terms. A site that depends on no c is its own term.
    """
    if not enumerated:
        return log_probs
    joint, marginal, terms = torch.zeros(()), torch.zeros(()), {}
    for name, log_prob in log_probs.items():
        if log_prob.dim() == 2:
            terms[name] = log_prob
            continue
        joint = joint + log_prob
        if name not in enumerated:  # of those alone the sum is one
            before, marginal = marginal, joint.logsumexp(tuple(range(joint.dim() - 2)))
            terms[name] = marginal - before
    return terms


def is_global(site: Site) -> bool:
    """Whether a site is one for all data, outside the plate "data"."""
    return all(frame.name != "data" for frame in site["cond_indep_stack"])
