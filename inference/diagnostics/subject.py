"""A pair on its data: what every diagnostic asks of it, and draws of the guide in chunks of bounded memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from pyro.distributions import Delta
from torch import Tensor

from pyrovae.data import Scale
from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import Batch, ProgramLike, Site, batch_size, call
from pyrovae.inference.pair.running import batches, chunk_sizes, device_of, evaluating, portions, seeded
from pyrovae.inference.pair.scoring import NOT_INDEPENDENT, Layout, Terms, layout, run_pair, terms_of
from pyrovae.inference.pair.tracing import PairTrace, innermost, sites, trace_pair

__all__ = ["MEMORY", "Scored", "Subject", "by_dimension", "examined", "is_point"]

MEMORY = 2**28
"""About how many bytes a chunk of draws may take."""


class Scored(NamedTuple):
    """S draws of the guide for each of B data: the traces, and the parts of their log-weights, `(S, B)`."""

    pair: PairTrace
    terms: Terms


@dataclass(frozen=True)
class Subject:
    """A pair, the data, and what one run on two of them showed."""

    model: ProgramLike
    guide: ProgramLike
    data: Batch
    transform: Callable[[Any], Any]
    memory: int
    size: int
    device: torch.device
    first: Batch
    traces: PairTrace
    layout: Layout

    def independent(self) -> None:
        """Refuse a latent of all data.

        Raises:
            PairError: there is one.
        """
        if self.layout.has_global:
            raise PairError(NOT_INDEPENDENT)

    def weighable(self) -> bool:
        """Refuse what leaves a datum without importance weights.

        Raises:
            PairError: a latent of all data, or a point mass in the guide.
        """
        self.independent()
        for name, site in sites(self.traces.guide).items():
            if is_point(site):
                raise PairError(f"the guide's site '{name}' is a point mass, which has no density, so no weight.")
        return True

    def batches(self, rows: int) -> Iterator[tuple[slice, Batch]]:
        """The data, `rows` of them at a time, and which they are."""
        parts = batches(self.data, rows, self.transform, self.device)
        for start, batch in zip(range(0, self.size, rows), parts, strict=True):
            yield slice(start, min(start + rows, self.size)), batch

    def rows(self, num_samples: int) -> Iterator[tuple[slice, Iterator[Scored]]]:
        """For some rows of the data after the other, `num_samples` draws for each, in chunks."""
        rows, draws = chunk_sizes(self.first, num_samples, self.memory)
        for where, batch in self.batches(rows):
            yield where, (self.score(batch, count) for count in portions(num_samples, draws))

    def score(self, batch: Batch, num_samples: int, guide: ProgramLike | None = None) -> Scored:
        """Draw from the guide, or another one, and score."""
        run = partial(call, batch=batch, data_size=self.size)
        pair = run_pair(partial(run, self.model), partial(run, guide or self.guide), num_samples, self.layout.depth)
        return Scored(pair, terms_of(pair, (num_samples, batch_size(batch)), self.layout.depth, self.size))


@contextmanager
def examined(
    what: str, model: ProgramLike, guide: ProgramLike, data: Batch, transform: Any, memory: int, seed: int
) -> Iterator[Subject]:
    """A pair on its data, in evaluation mode, without gradients, and under that seed.

    Raises:
        PairError: no data; a latent that nothing draws and nothing sums out.
    """
    size, device, transform = batch_size(data), device_of(model, guide), transform or Scale()
    if size == 0:
        raise PairError(f"{what} wants data, got an empty batch. Pass a split that is not empty, data.test say.")
    with evaluating(model, guide), seeded(seed, device):
        first = transform({name: tensor[:2].to(device) for name, tensor in data.items()})
        traces = trace_pair(model, guide, first, data_size=size)
        yield Subject(model, guide, data, transform, memory, size, device, first, traces, layout(traces))


def is_point(site: Site) -> bool:
    """Whether a site's distribution is a point mass."""
    return isinstance(innermost(site["fn"]), Delta)


def by_dimension(value: Tensor, site: Site, shape: tuple[int, int], depth: int) -> Tensor:
    """A site's value, or a number for each of its entries, `(*batch, *event)`, as `(S, B, D)`: inner plates and event
    dimensions side by side."""
    batch = value.dim() - site["fn"].event_dim
    value = value.reshape((1,) * (depth + 1 - batch) + value.shape)
    value = value.movedim(depth, 1).flatten(2) if value.dim() > 2 else value.unsqueeze(-1)
    return value.expand(*shape, value.shape[-1])
