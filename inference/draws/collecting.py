"""Draws of all data points, collected chunk by chunk, in memory or in a file."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.draws.draws import EFFECTIVE, LOG_WEIGHT, Draws, Key, Named, Slot, event_dims, label_of
from pyrovae.inference.draws.netcdf import Awaited, File
from pyrovae.inference.draws.plan import Draw, Plan, Values
from pyrovae.inference.draws.resampling import corrected_draws
from pyrovae.inference.draws.source import Source
from pyrovae.inference.pair.contract import batch_size
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.weights import WeightSums
from pyrovae.inference.processes.launch import current

__all__ = ["Memory", "collect"]


class Memory:
    """The arrays of draws as tensors.

    Args:
        slots: the arrays to fill.
    """

    def __init__(self, slots: Mapping[Key, Slot]) -> None:
        self.arrays = {key: Named(s.dims, torch.empty(s.shape, dtype=s.dtype)) for key, s in slots.items()}

    def put(self, key: Key, place: tuple[slice, ...], values: Tensor) -> None:
        """Write a part of an array.

        Args:
            key: the array.
            place: the part.
            values: the numbers.
        """
        self.arrays[key].values[place] = values

    def finish(self, rest: Draws) -> Draws:
        """All arrays.

        Args:
            rest: the draws with the arrays that are known at the end only.
        """
        return replace(rest, arrays=self.arrays | rest.arrays)

    def __enter__(self) -> "Memory":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def collect(
    source: Source,
    draw: Draw,
    plan: Plan,
    keys: Sequence[Key],
    data: Batch,
    batches: Iterable[tuple[slice, Batch]],
    *,
    out: str | Path | None,
    progress: bool = False,
) -> Draws:
    """Draw chunk by chunk, and keep what is requested.

    Args:
        source: what draws.
        draw: its method `draw`, or that method compiled.
        plan: the chunks.
        keys: the arrays to keep.
        data: named tensors, before any transform; their labels become a coordinate in a file.
        batches: the chunks of data points, `plan.rows` at a time, as the programs get them, with their rows.
        out: a NetCDF file; None for memory.
        progress: whether to show a progress bar.

    Raises:
        PairError: nothing is requested.
        NonFiniteError: the weights of a data point whose draws are to be corrected are all zero, or are not finite.
        MissingExtraError, OutputError: `out` cannot be written.
    """
    batches = iter(batches)
    first = next(batches)
    slots = _slots(source, plan, keys, {name: tensor[:2] for name, tensor in first[1].items()})
    corrected, tensors, effective = plan.proposals > 0, dict[str, Tensor](), torch.empty(source.size)
    total = math.ceil(source.size / plan.rows) * len(list(plan.parts(plan.proposals or plan.num_samples)))
    processes = current()
    with (
        _store(out, slots, label_of(data), corrected) as store,
        progress_bar(progress, total, "chunk") as bar,
    ):
        chunks = _Chunks(source, _counted(draw, bar), plan, slots, store)
        for where, batch in chain([first], batches):
            weights = chunks.corrected(where, batch) if corrected else chunks.plain(where, batch)
            if weights is not None:
                effective[where] = weights.effective_sample_size
            for name, tensor in batch.items():
                whole = tensors.setdefault(name, torch.empty((source.size, *tensor.shape[1:]), dtype=tensor.dtype))
                whole[where] = tensor
        arrays = _data_arrays(source, tensors)
        if LOG_WEIGHT in slots:
            arrays[EFFECTIVE] = Named(("datum",), effective)
        rest = Draws(source.kind, arrays, corrected)
        written = isinstance(store, Awaited)  # process 0 has to finish the file before another one opens it
        result = processes.agreed(lambda: None if written else store.finish(rest))
        return store.finish(rest) if result is None else result


def _store(
    out: str | Path | None, slots: dict[Key, Slot], label: Tensor | None, corrected: bool
) -> Memory | File | Awaited:
    """Where the draws go: process 0 writes a file, and the others read it."""
    if out is None:
        return Memory(slots)
    path = current().from_main(str(Path(out).absolute())) if not current().alone else out
    return File(path, slots, label, corrected) if current().main else Awaited(path, slots)


def _counted(draw: Draw, bar: Any) -> Draw:
    """`draw`, whose calls the bar counts."""
    if isinstance(draw, Compiled):
        bar.set_postfix_str("compiling")

    def counted(batch: Batch, rows: int, num_samples: int, common: Values) -> Values:
        values = draw(batch, rows, num_samples, common)
        bar.set_postfix_str("", refresh=False)
        bar.update()
        return values

    return counted


@dataclass(frozen=True)
class _Chunks:
    """The draws of one chunk of data points at a time, and where they go.

    Attributes:
        common: by the first of the draws, those of the latents outside the plate "data", which the first chunk drew.
    """

    source: Source
    draw: Draw
    plan: Plan
    slots: dict[Key, Slot]
    store: Memory | File | Awaited
    common: dict[int, Values] = field(default_factory=dict)

    def plain(self, where: slice, batch: Batch) -> WeightSums | None:
        """Store draws as they come, and sum their weights."""
        weights = []
        for part in self.plan.parts(self.plan.num_samples):
            common = self.common.get(part.start, {})
            values = self.draw(batch, where.stop - where.start, part.stop - part.start, common)
            self.common[part.start] = {key: v for key, v in values.items() if key.name in self.source.shared}
            if LOG_WEIGHT in values:
                weights.append(WeightSums.of(values[LOG_WEIGHT]))
            self.put(where, part, batch, values)
        return reduce(WeightSums.merge, weights) if weights else None

    def corrected(self, where: slice, batch: Batch) -> WeightSums:
        """Store draws that are chosen by their weights, and sum the weights of all proposals."""
        values, weights = corrected_draws(self.draw, self.plan, batch, where)
        for part in self.plan.parts(self.plan.num_samples):
            self.put(where, part, batch, {key: value[part] for key, value in values.items()})
        return weights

    def put(self, where: slice, part: slice, batch: Batch, values: Values) -> None:
        """Store these draws, and what is predicted from them."""
        rows, num_samples = where.stop - where.start, part.stop - part.start
        everything = values | self.source.predict(batch, rows, num_samples, values)
        for key, slot in self.slots.items():
            if "datum" in slot.dims:
                self.store.put(key, (part, where), everything[key].cpu())
            else:
                self.store.put(key, (part,), everything[key].squeeze(1).cpu())


def _slots(source: Source, plan: Plan, keys: Sequence[Key], batch: Batch) -> dict[Key, Slot]:
    """The arrays to fill, whose shapes one draw of two data points shows."""
    rows = batch_size(batch) if batch else 1
    values = source.draw(batch, rows, 1, {})
    values |= source.predict(batch, rows, 1, values)
    forms, slots = {**source.latents, **source.observed}, {}
    for key in keys:
        if key in values:
            stated = key.group.startswith(source.kind)
            dims = ("draw", *(forms[key.name].dims(key.name) if stated else ("datum",)))
            sizes = (plan.num_samples, *((source.size,) if "datum" in dims else ()), *values[key].shape[2:])
            slots[key] = Slot(dims, sizes, values[key].dtype)
    if not slots:
        raise PairError(
            f"{source.kind} requires something to keep, got no site and no weights. Write sites=None, or "
            "log_weights=True."
        )
    return slots


def _data_arrays(source: Source, tensors: dict[str, Tensor]) -> dict[Key, Named]:
    """The data, with dimensions named as those of the sites at which they are observed."""
    arrays = {}
    for name, tensor in tensors.items():
        group = "observed_data" if name in source.observed else "constant_data"
        dims = ("datum", *event_dims(name, tensor.dim() - 1))
        form = source.observed.get(name)
        if form and tensor.shape[1:] == (*form.plates.values(), *form.event):
            dims = form.dims(name)
        arrays[Key(group, name)] = Named(dims, tensor)
    return arrays
