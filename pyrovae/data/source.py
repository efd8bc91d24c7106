"""Data larger than memory: anything with a length that gives rows as named tensors."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pyrovae.data.ahead import ReadAhead
from pyrovae.data.batch import Batch
from pyrovae.data.limits import LOAD_LIMIT
from pyrovae.data.mapped import check_unchanged, touched
from pyrovae.errors import DataError, SettingError

__all__ = ["LazyBatch", "Source", "narrowed", "take"]

_HEAD = 1024
"""The first phase of a transform looks at so many rows of a source."""

_CHUNK = 2**26
"""A whole tensor is read in chunks of about so many bytes."""

Convert = Callable[[Batch], Batch]

_Block = tuple[dict[str, Tensor], Tensor]
"""Rows, each once, and where those that were asked for lie among them."""


@runtime_checkable
class Source(Protocol):
    """N data points that stay where they are, perhaps more than memory holds; rows are read where they are needed.

        class Spectra:
            def __init__(self, path):
                self.x = h5py.File(path)["x"]

            def __len__(self):
                return len(self.x)

            def rows(self, numbers):
                return {"x": self.x[numbers.numpy()]}

        fit(model, guide, Spectra("spectra.h5"))

    `fit`, `evaluate` and every other tool take a source in place of named tensors. Training reads
    some steps ahead, in a thread of its own where the steps leave it a core. The order of the rows is that of tensors
    in memory. A source is never read by two threads at once.
    """

    def __len__(self) -> int:
        """N; a source whose length changes while it is used is refused."""
        ...

    def rows(self, numbers: Tensor) -> Mapping[str, Any]:
        """Some rows, as named tensors or arrays that share the leading dimension B: the same at every call.

        Args:
            numbers: int64 `(B,)`, from 0 to N - 1, each larger than the one before.
        """
        ...


class LazyBatch(Mapping[str, Tensor]):
    """A source where a tool expects named tensors: rows are read by `take`, and a name gives a whole tensor.

    Args:
        source: the rows.
        convert: applied to what the source gives; it returns named tensors.

    Attributes:
        size: the number of rows.
        head: the first two rows.

    Raises:
        DataError: the source has no rows, or no whole number of them.
    """

    size: int
    head: dict[str, Tensor]

    def __init__(self, source: Source, convert: Convert) -> None:
        self._source, self._lock = source, threading.Lock()
        self._convert: tuple[Convert, ...] = (convert,)
        self._ahead: ReadAhead[_Block] | None = None
        self._capacity, self._pinned = 0, False
        self._name, self._length, self.head = type(source).__name__, len(source), {}
        self.size = self._length
        if not self.size:
            raise DataError(f"A source requires rows, got a {self._name} of length 0. Check where it reads from.")
        self.head = self.take(slice(2))

    def __len__(self) -> int:
        return len(self.head)

    def __iter__(self) -> Iterator[str]:
        return iter(self.head)

    def __contains__(self, name: object) -> bool:
        return name in self.head

    def __getitem__(self, name: str) -> Tensor:
        """A whole tensor.

        Raises:
            DataError: it takes more than `LOAD_LIMIT` bytes.
        """
        first = self.head[name]
        row = max(1, first[:1].numel() * first.element_size())
        if row * self.size > LOAD_LIMIT:
            raise DataError(
                f"The whole of {name!r} would take {row * self.size / 2**30:,.1f} GiB, more than LOAD_LIMIT = "
                f"{LOAD_LIMIT:,} bytes: this tool requires it in memory. Pass fewer rows of the {self._name}."
            )
        whole, step = first.new_empty((self.size, *first.shape[1:])), max(1, _CHUNK // self.row_bytes)
        for start in range(0, self.size, step):
            whole[start : start + step] = self.take(slice(start, start + step))[name]
        return whole

    @property
    def row_bytes(self) -> int:
        """The bytes of one row."""
        return max(1, sum(tensor[:1].numel() * tensor.element_size() for tensor in self.head.values()))

    def take(self, rows: slice | Tensor) -> dict[str, Tensor]:
        """Some rows, in that order.

        Args:
            rows: a slice or row numbers.

        Raises:
            DataError: the source has changed, or its rows are not alike.
        """
        if isinstance(rows, slice):
            return self._read(torch.arange(*rows.indices(self.size)))
        rows = rows.cpu()
        return self._read(torch.where(rows < 0, rows + self.size, rows))

    def block(self, order: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The rows of some steps, and where those of each step lie among them.

        There are as many rows as `order` has numbers, or as many as `reading` was told: the shape is the same for all
        blocks, so that one compiled graph takes them. Those that are left over mean nothing.

        Args:
            order: row numbers, `(steps, B)`.

        Raises:
            DataError: the source has changed, or its rows are not alike.
        """
        rows = order.cpu().flatten()
        found = self._ahead.take(rows) if self._ahead else None
        tensors, places = found or self._block(rows)
        return tensors, places.view(order.shape)

    def narrowed(self, count: int) -> "LazyBatch":
        """The first rows.

        Args:
            count: how many; all if there are fewer.
        """
        few = copy(self)
        few.size, few._ahead = min(count, self.size), None
        few.head = {name: tensor[:count] for name, tensor in self.head.items()}
        return few

    def then(self, convert: Convert) -> "LazyBatch":
        """The same rows after one more conversion.

        Args:
            convert: from batch to batch, row by row.
        """
        changed = copy(self)
        changed._convert, changed._ahead, changed.head = (*self._convert, convert), None, {}
        changed.head = changed.take(slice(2))
        return changed

    def prepared(self, transform: Any) -> "LazyBatch":
        """The rows as the first phase of a transform leaves them: its `prepare` checks the first ones.

        Args:
            transform: a transform; one with `prepare` requires `prepare_rows`.

        Raises:
            DataError: it has none.
            SettingError, ShapeError, SupportError: as `prepare` raises them.
        """
        if getattr(transform, "prepare", None) is None:
            return self
        rows = getattr(transform, "prepare_rows", None)
        if rows is None:
            raise SettingError(
                f"A source requires a transform that prepares some rows at a time, got {transform!r}, which prepares "
                "a whole split. Give its class a method prepare_rows(batch), or pass named tensors."
            )
        transform.prepare(self.take(slice(_HEAD)))
        return self.then(rows)

    def sample(self, count: int) -> dict[str, Tensor]:
        """Rows at equal distances.

        Args:
            count: how many at most.
        """
        return self._read(torch.arange(0, self.size, -(-self.size // count)))

    @contextmanager
    def reading(self, orders: Iterable[Tensor], capacity: int, device: torch.device) -> Iterator[None]:
        """Inside, a thread reads ahead what `block` is called with next, where the steps leave it a core.

        Threads that compute together wait for the slowest, so a reader on one of their cores costs more than it reads.

        Args:
            orders: the row numbers of each call.
            capacity: how many rows each block has.
            device: where the blocks go next; to a GPU from pinned memory, without waiting.
        """
        self._capacity, self._pinned = capacity, device.type == "cuda"
        if device.type == "cpu" and torch.get_num_threads() >= (os.cpu_count() or 1):
            yield
            return
        rows = (order.flatten() for order in orders)
        self._ahead = ahead = ReadAhead(self._block, rows, block_bytes=capacity * self.row_bytes)
        try:
            yield
        finally:
            self._ahead = None
            ahead.close()

    def _block(self, rows: Tensor) -> _Block:
        batch, places = self._sorted(rows)
        lacking = max(self._capacity, len(rows)) - len(next(iter(batch.values())))
        if lacking:
            batch = {name: torch.cat([t, t[:1].expand(lacking, *t.shape[1:])]) for name, t in batch.items()}
        return {name: t.pin_memory() for name, t in batch.items()} if self._pinned else batch, places

    def _read(self, rows: Tensor) -> dict[str, Tensor]:
        """Some rows in their order."""
        batch, places = self._sorted(rows)
        if len(places) == len(next(iter(batch.values()))) and torch.equal(places, torch.arange(len(rows))):
            return batch
        return {name: tensor[places] for name, tensor in batch.items()}

    def _sorted(self, rows: Tensor) -> _Block:
        """Some rows in the order of the source, which is faster, and some files allow no other."""
        numbers, places = torch.unique(rows, return_inverse=True)
        if len(numbers) and (int(numbers[0]) < 0 or int(numbers[-1]) >= self.size):
            raise IndexError(f"rows from {int(numbers[0])} to {int(numbers[-1])} of a source of {self.size}")
        with self._lock:
            self._check_length()
            try:
                batch: Batch = self._source.rows(numbers)
            finally:
                self._check_length()
        for convert in self._convert:
            batch = convert(batch)
        self._check_alike(batch, len(numbers))
        return dict(batch), places

    def _check_length(self) -> None:
        length = len(self._source)
        if length != self._length:
            raise DataError(
                f"The {self._name} changed while it was used: it had {self._length:,} rows, and has {length:,}; the "
                "rest of this run would read other data. Load it again, and write new data to a new place."
            )

    def _check_alike(self, batch: Batch, count: int) -> None:
        """Refuse rows that do not go together with the first ones."""
        wanted = _signature(self.head or batch)
        found = _signature(batch)
        lengths = {name: len(tensor) for name, tensor in batch.items()}
        if found == wanted and set(lengths.values()) == {count}:
            return
        name = next((n for n in {**wanted, **found} if found.get(n) != wanted.get(n)), next(iter(found), "x"))
        raise DataError(
            f"{self._name}.rows requires {name!r} of {count} rows, each {wanted.get(name, 'nothing')}, as its first "
            f"rows have it, got {lengths.get(name, 0)} rows of {found.get(name, 'nothing')}. Give every row the same "
            "names, types and shapes."
        )


def _signature(batch: Batch) -> dict[str, str]:
    """Type and shape of a row, by name."""
    return {name: f"{tensor.dtype} {tuple(tensor.shape[1:])}" for name, tensor in batch.items()}


def take(data: Batch, rows: slice | Tensor) -> dict[str, Tensor]:
    """Some rows of the data, where they are.

    Args:
        data: named tensors, or a source in their place.
        rows: a slice or row numbers.

    Raises:
        DataError: the data are read from a file that has changed.
    """
    if isinstance(data, LazyBatch):
        return data.take(rows)
    check_unchanged(data)
    if isinstance(rows, Tensor):
        touched(data, len(rows))
        return {name: tensor[rows.to(tensor.device)] for name, tensor in data.items()}
    part = {name: tensor[rows] for name, tensor in data.items()}
    touched(data, max(map(len, part.values()), default=0))
    return part


def narrowed(data: Batch, count: int) -> Batch:
    """The first rows of the data; nothing is read.

    Args:
        data: named tensors, or a source in their place.
        count: how many; all if there are fewer.
    """
    if isinstance(data, LazyBatch):
        return data.narrowed(count)
    return {name: tensor[:count] for name, tensor in data.items()}
