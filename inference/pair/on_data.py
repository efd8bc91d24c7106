"""A pair on its data: what all evaluations do first, and scored draws of the guide in chunks of bounded memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from pyro.distributions import Delta
from torch import Tensor

from pyrovae.checks import BYTES, check_count
from pyrovae.data import Batch
from pyrovae.data.source import narrowed
from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import ProgramLike, Site, batch_size, call
from pyrovae.inference.pair.entry import entered
from pyrovae.inference.pair.labels import LabelInputs
from pyrovae.inference.pair.memory import enough_memory
from pyrovae.inference.pair.noise import draws, placed_by_seed
from pyrovae.inference.pair.plates import check_plates
from pyrovae.inference.pair.running import (
    MEMORY,
    ROWS,
    Transform,
    chunk_sizes,
    device_of,
    evaluating,
    placed,
    portions,
    seeded,
)
from pyrovae.inference.pair.scoring import NOT_INDEPENDENT, Layout, Terms, layout, run_pair, terms_of
from pyrovae.inference.pair.together import check_together, fitting_rows
from pyrovae.inference.pair.tracing import PairTrace, innermost, sites, trace_pair
from pyrovae.inference.pair.values import DataRules

__all__ = ["PairOnData", "ScoredDraws", "by_dimension", "given", "is_point", "on_data"]


class ScoredDraws(NamedTuple):
    """S draws of the guide for each of B data points.

    Attributes:
        pair: the traces of the run.
        terms: the parts of the log-weights, each of shape `(S, B)`.
    """

    pair: PairTrace
    terms: Terms


@dataclass(frozen=True)
class PairOnData:
    """A pair, its data, and one run on the first two data points. `on_data` opens it.

    Attributes:
        model, guide: the programs.
        data: named tensors of N data points.
        transform: a function from a batch of the data to the batch that the programs get; `Scale()` if None.
        memory: about how many bytes a chunk of draws may take.
        size: N.
        device: the device of the programs.
        first: the first two data points, transformed.
        traces: the traces of the run on `first`.
        layout: the plates of the pair.
        rules: what the values of each batch must keep.
        seed: the seed of all random numbers, also of those of the transform.
        noisy: whether the transform draws random numbers; they belong to seed and row, whatever the chunk.
        checked: whether all data keep the rules; otherwise each batch is checked when it is placed.
        state: the random state after that run, of the CPU and of the programs' GPU.
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
    rules: DataRules
    seed: int
    noisy: bool
    checked: bool
    state: list[Tensor]

    def rewind(self) -> None:
        """Restore the random state after the first run, so that the next part draws what it draws alone."""
        torch.set_rng_state(self.state[0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(self.state[1], self.device)

    def narrowed(self, count: int) -> "PairOnData":
        """The same pair on the first data points.

        Args:
            count: how many; all if there are fewer.
        """
        return replace(self, data=narrowed(self.data, count), size=min(count, self.size))

    def require_independent(self) -> None:
        """Raise if a latent is outside the plate "data".

        Raises:
            PairError: there is such a latent.
        """
        if self.layout.has_global:
            raise PairError(NOT_INDEPENDENT)

    def require_weights(self) -> None:
        """Raise if a data point has no importance weights.

        Raises:
            PairError: a latent outside the plate "data", or a point mass in the guide.
        """
        self.require_independent()
        for name, site in sites(self.traces.guide).items():
            if is_point(site):
                raise PairError(
                    f"An importance weight requires a density, got the guide's site '{name}', which is a point mass. "
                    "Write a distribution with a density there, such as NormalGuide's, or GumbelCodeGuide's for codes."
                )

    def place(self, rows: slice | Tensor) -> Batch:
        """Some rows of the data, on the device and transformed.

        Args:
            rows: a slice or row numbers.
        """
        if self.noisy:
            batch = placed_by_seed(self.data, self.transform, self.device, rows, self.seed)
        else:
            batch = placed(self.data, self.transform, self.device, rows)
        if not self.checked:
            self.rules.check(batch, rows)
        return batch

    def checked_whole(self) -> "PairOnData":
        """The same pair, after a pass over the data that raises where a value breaks a rule.

        Raises:
            NonFiniteError, SupportError: a value is not finite, or outside the support of its site.
        """
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            for _ in self.batches(ROWS):
                pass
        return replace(self, checked=True)

    def batches(self, rows: int) -> Iterator[tuple[slice, Batch]]:
        """The data in order, in batches, each with its slice of the data.

        Args:
            rows: the number of data points in a batch; the last batch may have fewer.
        """
        for start in range(0, self.size, rows):
            where = slice(start, min(start + rows, self.size))
            yield where, self.place(where)

    def chunks(self, num_samples: int) -> Iterator[tuple[slice, Iterator[ScoredDraws]]]:
        """Scored draws for all data points: for each chunk of data points its slice, and its draws in portions.

        The sizes of chunks and portions are such that one portion takes about `memory` bytes.

        Args:
            num_samples: S, the number of draws for each data point.
        """
        rows, most = chunk_sizes(self.first, num_samples, self.memory)
        for where, batch in self.batches(rows):
            yield where, (self.score(batch, count) for count in portions(num_samples, most))

    def score(self, batch: Batch, num_samples: int, guide: ProgramLike | None = None) -> ScoredDraws:
        """Draw from the guide and score the draws.

        Args:
            batch: named tensors, already transformed.
            num_samples: S, the number of draws for each data point.
            guide: another guide to draw from; the pair's own if None.
        """
        run = partial(call, batch=batch, data_size=self.size)
        pair = run_pair(partial(run, self.model), partial(run, guide or self.guide), num_samples, self.layout.depth)
        shape = num_samples, len(next(iter(batch.values())))
        return ScoredDraws(pair, terms_of(pair, shape, self.layout.depth, self.size))

    def given(self, batch: Batch) -> dict[str, Tensor]:
        """The tensors of a batch that the model conditions on: those whose name is no site of the model.

        Args:
            batch: named tensors.
        """
        return given(self.traces, batch)


def given(traces: PairTrace, batch: Batch) -> dict[str, Tensor]:
    """The tensors of a batch that the model conditions on: those whose name is no site of the model.

    Args:
        traces: one run of the pair.
        batch: named tensors.
    """
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
    single: bool = False,
) -> Iterator[PairOnData]:
    """Open a pair on its data: in evaluation mode, without gradients, and under a seed.

    Args:
        what: the caller's name, for the errors.
        model, guide: the pair.
        data: named tensors of N data points, as in `entered`; they are prepared by the transform.
        transform: a function from a batch of the data to the batch that the programs get; `Scale()` if None.
        memory: about how many bytes a chunk of draws may take.
        seed: the seed of all random numbers inside; the global random state is unchanged afterwards.
        single: whether the caller takes one draw for each data point and goes through the data once. Each batch is
            then checked when it is placed, and draws are not scored together.

    Raises:
        OutOfMemoryError: a chunk needs more memory than there is.
        DataError: the data are no named tensors, or of another type than the pair's parameters.
        PairError: the data are empty; or a latent that the guide does not draw and that cannot be summed out; or draws
            that are scored together have other log-probabilities than alone.
        NonFiniteError, SupportError: a value of the data is not finite, or outside the support of its site.
        SettingError: a seed or a memory without a meaning.
    """
    memory = check_count("memory", memory, 0, BYTES)
    data = entered(what, data, transform, model, guide)
    size, device = batch_size(data), device_of(model, guide)
    hint = f"Write memory={max(1, min(memory, MEMORY) // 4)}, fewer draws, or fewer data points at a time."
    with enough_memory(hint), evaluating(model, guide), seeded(seed, device):
        first, noisy = draws(lambda: placed(data, transform, device, slice(2)), device)
        with LabelInputs(model, guide, batch=first) as labels:
            traces = trace_pair(model, guide, first, data_size=size)
        state = [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])
        check_plates(model, guide, traces, len(next(iter(first.values()))), size)
        found, rules = layout(traces), DataRules.of(model, traces, first, labels.classes)
        common = (model, guide, data, transform, memory, size, device, first, traces, found, rules, seed, noisy)
        pair = PairOnData(*common, False, state)
        if not single:
            pair = pair.checked_whole()
            few = pair.place(slice(fitting_rows(model, guide, size=size)))
            check_together(model, guide, few, found, data_size=size)
        yield pair


def is_point(site: Site) -> bool:
    """Whether a site's distribution is a point mass.

    Args:
        site: a site of a trace.
    """
    return isinstance(innermost(site["fn"]), Delta)


def by_dimension(value: Tensor, site: Site, shape: tuple[int, int], depth: int) -> Tensor:
    """A tensor `(*batch, *event)` of a site, such as its value, as `(S, B, D)`.

    The D dimensions are those of the inner plates and of the event, flattened.

    Args:
        value: the site's value, or another number for each entry of it.
        site: the site.
        shape: `(S, B)`.
        depth: how many dimensions the plates of the pair take.
    """
    batch = value.dim() - site["fn"].event_dim
    value = value.reshape((1,) * (depth + 1 - batch) + value.shape)
    value = value.movedim(depth, 1).flatten(2) if value.dim() > 2 else value.unsqueeze(-1)
    return value.expand(*shape, value.shape[-1])
