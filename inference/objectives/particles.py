"""Particles: the draws of a pair for each data point of a batch, and their scores."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.errors import PairError
from pyrovae.inference.pair.scoring import Terms, run_pair, terms_of
from pyrovae.inference.pair.tracing import PairTrace, sites

__all__ = ["Drawing", "Particles", "data_plate", "draw_particles", "sampled_elbo"]


class Particles(NamedTuple):
    """S draws from the guide for each of the B data points of a batch, and their scores.

    Attributes:
        pair: the traces of both programs.
        terms: log-probabilities, `(S, B)`, unscaled.
        full_size: the number of all data points, of which the batch is a sample.
        depth: how many dimensions the plates of the pair take.
        free: a run of the model by itself, for the objectives that need one.
        discrete: the terms of draws that are discrete, where those of `terms` are relaxed.
    """

    pair: PairTrace
    terms: Terms
    full_size: int
    depth: int
    free: Trace | None = None
    discrete: Terms | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """`(S, B)`."""
        samples, batch = self.terms.log_likelihood.shape
        return samples, batch


Drawing = Callable[[Callable[[], Any], Callable[[], Any], int, int], Particles]
"""How an objective gets its particles: from model, guide, number of particles and depth, as `draw_particles`."""


def draw_particles(
    model: Callable[[], Any],
    guide: Callable[[], Any],
    num_particles: int,
    depth: int,
    *,
    in_guide: AbstractContextManager[Any] | None = None,
    in_model: AbstractContextManager[Any] | None = None,
) -> Particles:
    """Draw from the guide, replay the model against the draws, and score them.

    Args:
        model, guide: the programs, with their arguments bound.
        num_particles: S, draws per data point, vectorised.
        depth: how many dimensions the plates of the pair take.
        in_guide, in_model: handlers that see each site of one program before it is recorded, and may change its value.
    """
    pair = run_pair(model, guide, num_particles, depth, in_guide=in_guide, in_model=in_model)
    size, full_size = data_plate(pair)
    return Particles(pair, terms_of(pair, (num_particles, size), depth, full_size), full_size, depth)


def sampled_elbo(particles: Particles) -> Tensor:
    """The ELBO of each data point, `(B,)`: the mean log-weight of its particles.

    Args:
        particles: S draws for each data point.
    """
    return particles.terms.log_weight.mean(0)


def data_plate(pair: PairTrace) -> tuple[int, int]:
    """The size of the plate "data", and the number of all data points, of which the plate may be a sample.

    Args:
        pair: a run of both programs.

    Raises:
        PairError: there is no plate "data" at dim=-1.
    """
    for trace in reversed(pair):
        for site in sites(trace).values():
            for frame in site["cond_indep_stack"]:
                if frame.name == "data" and frame.dim == -1:
                    return frame.size, frame.full_size or frame.size
    raise PairError(
        'An objective requires the plate "data" at dim=-1, got no site in it. Write '
        'with pyro.plate("data", len(x), dim=-1): around the sites of a data point, in model and guide.'
    )
