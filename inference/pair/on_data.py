"""A pair on its data: the beginning that all evaluations share, and draws of the guide in chunks of bounded memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from pyro.distributions import Delta
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import ProgramLike, Site, call, filled
from pyrovae.inference.pair.running import (
    MEMORY,
    Transform,
    batches,
    chunk_sizes,
    device_of,
    evaluating,
    placed,
    portions,
    seeded,
)
from pyrovae.inference.pair.scoring import NOT_INDEPENDENT, Layout, Terms, layout, run_pair, terms_of
from pyrovae.inference.pair.tracing import PairTrace, innermost, sites, trace_pair

__all__ = ["PairOnData", "ScoredDraws", "by_dimension", "given", "is_point", "on_data"]


class ScoredDraws(NamedTuple):
    """S draws of the guide for each of B data points: the traces, and the parts of their log-weights, `(S, B)`."""

    pair: PairTrace
    terms: Terms


@dataclass(frozen=True)
class PairOnData:
    """A pair, its data, and what one run on the first two data points showed.

    Attributes:
        model, guide: the programs.
        data: named tensors of N data points.
        transform: from a batch of the data to what the programs get; `Scale()` if None.
        memory: about how many bytes a chunk of draws may take.
        size: N.
        device: where the programs are.
        first: the first two data points, transformed.
        traces: the run on them.
        layout: the plates of the pair.
        state: the random state after that run.
    """

    model: ProgramLike
    guide: ProgramLike
    data: Batch
    transform: Transform | None
    memory: int
    size: int
    device: torch.device
    first: Batch
    traces: PairTrace
    layout: Layout
    state: list[Tensor]

    def rewind(self) -> None:
        """Put the random state back to that after the first run: the next part draws as if it were the only one."""
        torch.set_rng_state(self.state[0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(self.state[1], self.device)

    def narrowed(self, count: int) -> "PairOnData":
        """The same pair on the first `count` data points."""
        few = {name: tensor[:count] for name, tensor in self.data.items()}
        return replace(self, data=few, size=min(count, self.size))

    def require_independent(self) -> None:
        """Refuse a latent outside the plate "data".

        Raises:
            PairError: there is one.
        """
        if self.layout.has_global:
            raise PairError(NOT_INDEPENDENT)

    def require_weights(self) -> None:
        """Refuse what leaves a data point without importance weights.

        Raises:
            PairError: a latent outside the plate "data", or a point mass in the guide.
        """
        self.require_independent()
        for name, site in sites(self.traces.guide).items():
            if is_point(site):
                raise PairError(f"the guide's site '{name}' is a point mass, which has no density and so no weight.")

    def place(self, rows: slice | Tensor) -> Batch:
        """Some rows of the data, on the device and transformed."""
        return placed(self.data, self.transform, self.device, rows)

    def batches(self, rows: int) -> Iterator[tuple[slice, Batch]]:
        """The data, `rows` of them at a time, each batch with the slice that it is."""
        parts = batches(self.data, rows, self.transform, self.device)
        for start, batch in zip(range(0, self.size, rows), parts, strict=True):
            yield slice(start, min(start + rows, self.size)), batch

    def chunks(self, num_samples: int) -> Iterator[tuple[slice, Iterator[ScoredDraws]]]:
        """Chunk of data points by chunk, `num_samples` scored draws for each, in portions that fit into memory."""
        rows, draws = chunk_sizes(self.first, num_samples, self.memory)
        for where, batch in self.batches(rows):
            yield where, (self.score(batch, count) for count in portions(num_samples, draws))

    def score(self, batch: Batch, num_samples: int, guide: ProgramLike | None = None) -> ScoredDraws:
        """Draw from the guide, or from another one, and score the draws."""
        run = partial(call, batch=batch, data_size=self.size)
        pair = run_pair(partial(run, self.model), partial(run, guide or self.guide), num_samples, self.layout.depth)
        shape = num_samples, len(next(iter(batch.values())))
        return ScoredDraws(pair, terms_of(pair, shape, self.layout.depth, self.size))

    def given(self, batch: Batch) -> dict[str, Tensor]:
        """What the model is given and does not sample: the tensors of a batch that are at no site of it."""
        return given(self.traces, batch)


def given(traces: PairTrace, batch: Batch) -> dict[str, Tensor]:
    """What the model is given and does not sample: the tensors of a batch that are at no site of it."""
    drawn = sites(traces.model)
    return {name: tensor for name, tensor in batch.items() if name not in drawn}


@contextmanager
def on_data(
    what: str,
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    transform: Any = None,
    *,
    memory: int = MEMORY,
    seed: int = 0,
) -> Iterator[PairOnData]:
    """Open a pair on its data: in evaluation mode, without gradients, under a seed of its own.

    Args:
        what: the name of the function that asks, for the errors.
        model, guide, data: the pair and its data.
        transform: as in `placed`.
        memory: about how many bytes a chunk of draws may take.
        seed: of all random numbers inside; the global random state is left alone.

    Raises:
        PairError: no data; a latent that nothing draws and nothing sums out.
    """
    size, device = filled(what, data), device_of(model, guide)
    with evaluating(model, guide), seeded(seed, device):
        first = placed(data, transform, device, slice(2))
        traces = trace_pair(model, guide, first, data_size=size)
        state = [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])
        yield PairOnData(model, guide, data, transform, memory, size, device, first, traces, layout(traces), state)


def is_point(site: Site) -> bool:
    """Whether a site's distribution is a point mass."""
    return isinstance(innermost(site["fn"]), Delta)


def by_dimension(value: Tensor, site: Site, shape: tuple[int, int], depth: int) -> Tensor:
    """A site's value, or a number for each of its entries, `(*batch, *event)`, as `(S, B, D)`.

    The D dimensions are those of the inner plates and of the event, flattened.
    """
    batch = value.dim() - site["fn"].event_dim
    value = value.reshape((1,) * (depth + 1 - batch) + value.shape)
    value = value.movedim(depth, 1).flatten(2) if value.dim() > 2 else value.unsqueeze(-1)
    return value.expand(*shape, value.shape[-1])
