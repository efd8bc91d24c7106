"""Scores of a pair: log-probabilities per draw and data point, and the log-weights that they add up to.

With z ~ q(z | x), the log-weight is log w = log p(x | z) + log p(z) - log q(z | x), unscaled. Its mean is the ELBO, and
log E[w] is the evidence log p(x).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.pair.contract import ProgramLike, Site, batch_size, call
from pyrovae.inference.pair.tracing import PairTrace, sites, unscaled_log_prob

__all__ = [
    "NOT_INDEPENDENT",
    "LatentTerms",
    "Layout",
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
    "log p(x) of a data point requires data points that are independent, got a latent outside the plate 'data', which "
    "they share. Condition on that latent (pyro.condition), or move it into the plate."
)
"""The error message about a latent that all data points share."""


class LatentTerms(NamedTuple):
    """log p and log q of one latent site, each of shape `(S, B)`, in nats.

    Attributes:
        log_prior: log p(z | latents above).
        log_guide: log q(z | x, latents drawn before).
    """

    log_prior: Tensor
    log_guide: Tensor

    @property
    def rate(self) -> Tensor:
        """log q - log p, whose mean is the site's part of KL(q || p)."""
        return self.log_guide - self.log_prior


class Terms(NamedTuple):
    """The parts of a log-weight, each of shape `(S, B)`, in nats.

    Attributes:
        log_likelihood: log p(x | z), over all observed sites.
        levels: log p and log q of each latent site, by name.
    """

    log_likelihood: Tensor
    levels: dict[str, LatentTerms]

    @property
    def log_prior(self) -> Tensor:
        """log p(z), over all latent sites."""
        return sum((level.log_prior for level in self.levels.values()), torch.zeros_like(self.log_likelihood))

    @property
    def log_guide(self) -> Tensor:
        """log q(z | x), over all latent sites."""
        return sum((level.log_guide for level in self.levels.values()), torch.zeros_like(self.log_likelihood))

    @property
    def log_weight(self) -> Tensor:
        """log p(x | z) + log p(z) - log q(z | x)."""
        return self.log_likelihood + self.log_prior - self.log_guide


class Layout(NamedTuple):
    """The plates of a pair.

    Attributes:
        depth: how many dimensions the plates take; 1 where "data" is the only plate.
        has_global: whether a latent is outside the plate "data", so that all data points share it.
    """

    depth: int
    has_global: bool


def layout(pair: PairTrace) -> Layout:
    """The layout of a pair, read off one run.

    Args:
        pair: the traces of that run.

    Raises:
        PairError: a latent of the model that the guide does not draw and that cannot be summed out.
    """
    for name in pair.undrawn():
        _check_enumerable(name, sites(pair.model)[name])
    return Layout(depth_of(*pair), any(is_global(site) for _, site in pair.latent().values()))


def depth_of(*traces: Trace) -> int:
    """How many dimensions the plates of these runs take.

    Args:
        traces: runs of single programs.
    """
    frames = [f for trace in traces for site in sites(trace).values() for f in site["cond_indep_stack"]]
    return max((-frame.dim for frame in frames if frame.dim is not None), default=1)


def samples_plate(num_samples: int, depth: int) -> AbstractContextManager[Any]:
    """The plate of the draws, left of the pair's own plates.

    A single draw opens no plate, so networks that allow no further dimension run too.

    Args:
        num_samples: S, the number of draws.
        depth: how many dimensions the plates of the pair take.
    """
    return pyro.plate("samples", num_samples, dim=-depth - 1) if num_samples > 1 else nullcontext()


def _check_enumerable(name: str, site: Site) -> None:
    """Raise unless a latent that the guide does not draw can be summed out.

    That requires finite support, the mark for enumeration, and a place directly in the plate "data".
    """
    if site["infer"].get("enumerate") != "parallel":
        raise PairError(
            f"A weight requires a draw of the latent '{name}', got a guide that has no site '{name}'. Write "
            f"pyro.sample('{name}', ...) in the guide; or, if the latent has finitely many values, sum it out with "
            'infer={"enumerate": "parallel"} in the model.'
        )
    if not site["fn"].has_enumerate_support:
        raise PairError(
            f"Enumeration requires a finite support, got {type(site['fn']).__name__} at site '{name}', which has no "
            f"finite support. Write pyro.sample('{name}', ...) in the guide."
        )
    frames = [frame.name for frame in site["cond_indep_stack"]]
    if frames != ["data"] or site["infer"].get("_markov_scope") is not None:
        raise PairError(
            f"Enumeration requires a latent directly in the plate 'data', got site '{name}' in the plates {frames}, or "
            f"in pyro.markov. Write pyro.sample('{name}', ...) in the guide, or train with TraceEnum_ELBO()."
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
    """Draw `num_samples` times from the guide, in one vectorised run, and run the model with the draws.

    Latents that the guide does not draw are enumerated, in dimensions left of the draws.

    Args:
        model, guide: the programs, with their arguments bound.
        num_samples: S, the number of draws.
        depth: how many dimensions the plates of the pair take.
        in_guide, in_model: an effect handler for each program, which may change the value of a site before the site is
            recorded.
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
    """Draw `num_samples` times from the guide, in one vectorised run, and score the draws: terms of shape `(S, B)`.

    Args:
        model, guide: the pair.
        batch: named tensors, already transformed.
        num_samples: S, the number of draws.
        depth: how many dimensions the plates of the pair take.
        extra: further arguments of the programs, as in `call`; `data_size` is also the number of all data points.
    """
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
    """The terms of the log-weight of each draw and data point.

    The log-probability of a latent outside the plate "data" is divided by `data_size`: each data point has its share.

    Args:
        pair: the traces of `run_pair`.
        shape: `(S, B)`.
        depth: how many dimensions the plates of the pair take.
        data_size: the number of all data points; B if None.
        of_model: the `scores` of the model's trace, if they are known; computed if None.
    """
    scored = summed_out(of_model or scores(pair.model, shape, depth, data_size), pair.undrawn())
    of_guide = scores(pair.guide, shape, depth, data_size)
    likelihood = [scored[name] for name in pair.observed()]
    zero = torch.zeros((), device=likelihood[0].device).expand(shape) if likelihood else torch.zeros(shape)
    levels = {name: LatentTerms(scored.get(name, zero), log_guide) for name, log_guide in of_guide.items()}
    return Terms(sum(likelihood, zero), levels)


def scores(trace: Trace, shape: tuple[int, int], depth: int, data_size: int | None) -> dict[str, Tensor]:
    """log p(site | sites before it) for each site, per draw and data point, `(*enumerated, S, B)`.

    Args:
        trace: a run of one program.
        shape: `(S, B)`.
        depth: how many dimensions the plates of the pair take.
        data_size: the number of all data points; B if None.

    Raises:
        ShapeError: a site has dimensions of its own left of that of the draws.
    """
    found = sites(trace)
    enumerated = {site["infer"].get("_enumerate_dim") for site in found.values()}
    result = {}
    for name, site in found.items():
        log_prob = unscaled_log_prob(site)
        extra = range(-log_prob.dim(), -depth - 1)
        if any(log_prob.shape[dim] != 1 and dim not in enumerated for dim in extra):
            raise ShapeError(
                f"The log-probability of site '{name}' in a run of {shape[0]} draws requires the dimension of the "
                f"draws, dim={-depth - 1}, to be its leftmost, got shape {tuple(log_prob.shape)}. A latent drawn "
                f"outside an inner plate has shape {(shape[0], *[1] * (depth - 1), shape[1])} and broadcasts: remove "
                "unsqueeze, and count dimensions from the right."
            )
        result[name] = spread(log_prob, site, shape, depth, data_size)
    return result


def spread(log_prob: Tensor, site: Site, shape: tuple[int, int], depth: int, data_size: int | None) -> Tensor:
    """A site's log-probability per draw and data point, `(*enumerated, S, B)`, summed over inner plates.

    Args:
        log_prob: the log-probability of the site.
        site: the site; outside the plate "data", each data point gets its share.
        shape: `(S, B)`.
        depth: how many dimensions the plates of the pair take.
        data_size: the number of all data points; B if None.
    """
    log_prob = log_prob.reshape((1,) * (depth + 1 - log_prob.dim()) + log_prob.shape)
    if depth > 1:
        log_prob = log_prob.sum(tuple(range(-depth, -1)))
    if is_global(site):
        log_prob = log_prob.sum(-1, keepdim=True) / (data_size or shape[1])
    return log_prob.expand(log_prob.shape[:-2] + shape)


def summed_out(log_probs: dict[str, Tensor], enumerated: list[str]) -> dict[str, Tensor]:
    """log p(site | sites before it) for each site of the model, with the enumerated latents summed out.

    With c for the enumerated latents, log p(s_1 ... s_i) = logsumexp_c log p(c, s_1 ... s_i). By the chain rule, the
    term of s_i is log p(s_1 ... s_i) - log p(s_1 ... s_(i-1)). A site that does not depend on c keeps its score.

    Args:
        log_probs: the `scores` of the model in the order of its sites, `(*enumerated, S, B)` each.
        enumerated: the names of the latents to sum out.
    """
    if not enumerated:
        return log_probs
    joint, marginal, terms = torch.zeros(()), torch.zeros(()), {}
    for name, log_prob in log_probs.items():
        if log_prob.dim() == 2:
            terms[name] = log_prob
            continue
        joint = joint + log_prob
        if name not in enumerated:  # the probabilities of an enumerated latent sum to one: it adds no term
            before, marginal = marginal, joint.logsumexp(tuple(range(joint.dim() - 2)))
            terms[name] = marginal - before
    return terms


def is_global(site: Site) -> bool:
    """Whether all data points share a site, because it is outside the plate "data".

    Args:
        site: a site of a trace.
    """
    return all(frame.name != "data" for frame in site["cond_indep_stack"])
