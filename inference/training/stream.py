"""A stream of batches: read one after the other, checked, and put back where an earlier training stopped."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.data.named import kind_of, named_tensors
from pyrovae.data.streams import gives_rows
from pyrovae.errors import CheckpointError, DataError, SettingError

__all__ = ["Stream"]

_REPEAT = "let it start again, with dataset.repeat(None) or `while True: yield from batches`"

_PLACE = "Give it state_dict() and load_state_dict(state), or write run=None for a training that cannot be resumed"


class Stream:
    """The batches of a stream, all with the names, shapes and types of the first one.

    Args:
        source: an iterable of batches, or a `datasets.IterableDataset` of rows.
        batch_size: data points of a batch, where the source gives rows.
        floats: the type of floats that come from NumPy; torch's default if None.

    Raises:
        DataError: the stream is empty, or its first batch is no named tensors.

    Attributes:
        first: the first batch.
        read: how many batches were taken.
    """

    def __init__(self, source: Any, batch_size: int, floats: torch.dtype | None) -> None:
        self._source = source.with_format("torch") if gives_rows(source) else source
        self._batch_size = batch_size if gives_rows(source) else None
        self._floats = floats
        self._start = self._place() if self.resumes else None  # the state before the batch that waits
        self._batches = self._begun()
        self.read = 0
        self._waits: Batch | None = self._next()
        self.first = self._waits

    @property
    def resumes(self) -> bool:
        """Whether the stream can tell its place, and go back there."""
        return all(callable(getattr(self._source, name, None)) for name in ("state_dict", "load_state_dict"))

    def take(self) -> Batch:
        """The next batch.

        Raises:
            DataError: the stream has ended, or the batch is not like the first one.
        """
        batch, self._waits = self._waits or self._like_the_first(self._next()), None
        self.read += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The place of the stream, which a checkpoint holds.

        Raises:
            DataError: the stream's own state is not made of plain values and tensors.
        """
        return {"source": self._start if self._waits is not None else self._place(), "read": self.read}

    def load_state_dict(self, state: Any) -> None:
        """Go back to a place.

        Args:
            state: an earlier `state_dict()`.

        Raises:
            CheckpointError: it is not the state of such a stream.
        """
        if not isinstance(state, Mapping) or not isinstance(state.get("read"), int) or "source" not in state:
            raise CheckpointError("the checkpoint requires the place of a stream, got none. Train again.")
        self._go_to(state["source"])
        self.read, self._waits = state["read"], None

    def check_resumes(self) -> None:
        """Go one batch back, and compare what comes: only then can a training be resumed where it was.

        Raises:
            SettingError: the stream cannot tell its place, or other batches follow when it goes back there.
        """
        if not self.resumes:
            raise SettingError(
                f"A run folder requires a stream that can go back to its place, got {kind_of(self._source)} without "
                f"state_dict. {_PLACE}."
            )
        place = self._place()
        second = next(self._batches, None)
        for state, expected in ((place, second), (self._start, self.first)):
            self._go_to(state)
            if expected is None:
                continue
            if not _same(self._named(expected), self._next()):
                raise SettingError(
                    f"A run folder requires a stream that resumes exactly, got {kind_of(self._source)} whose batches "
                    "differ after load_state_dict(state_dict()): a buffer that shuffles is no part of the state. "
                    "Shuffle the stored data instead, or write run=None."
                )

    # The source ------------------------------------------------------------------------------------------------

    def _begun(self) -> Iterator[Any]:
        return iter(self._source) if self._batch_size is None else self._rows_together(self._batch_size)

    def _rows_together(self, size: int) -> Iterator[Any]:
        """Batches of rows; the state of the source is then that after the last row of a batch."""
        rows: list[Any] = []
        for row in self._source:
            rows.append(row)
            if len(rows) == size:
                yield _stacked(rows)
                rows = []

    def _place(self) -> Any:
        state = copy.deepcopy(self._source.state_dict())
        _check_plain(state, "state_dict()")
        return state

    def _go_to(self, state: Any) -> None:
        try:
            self._source.load_state_dict(_on_cpu(state))
            self._batches = self._begun()
        except Exception as error:  # a stream of the user's may raise anything
            raise CheckpointError(
                f"the stream requires a state of its own, got one that it refuses: {type(error).__name__}: {error}. "
                "Resume with the stream that the run was started with."
            ) from error

    def _next(self) -> Batch:
        try:
            batch = next(self._batches)
        except StopIteration:
            got = f"one that ended after {self.read} batches" if self.read else "an empty one"
            line = f"Write steps={self.read}, or {_REPEAT}." if self.read else f"Check its source, or {_REPEAT}."
            raise DataError(f"fit requires a stream with a batch for each step, got {got}. {line}") from None
        return self._named(batch)

    def _named(self, batch: Any) -> Batch:
        if not isinstance(batch, Mapping):
            raise DataError(
                f"fit requires a stream of named tensors, got {kind_of(batch)} as batch {self.read + 1}. Write "
                'yield {"x": x}.'
            )
        return named_tensors("fit", batch, self._floats)

    def _like_the_first(self, batch: Batch) -> Batch:
        if _signature(batch) == _signature(self.first):
            return batch
        names = [name for name in {**self.first, **batch} if _of(batch, name) != _of(self.first, name)]
        had, got = ({name: _of(one, name) for name in names} for one in (self.first, batch))
        raise DataError(
            f"fit requires a stream whose batches are all like the first one, {had}, got {got} as batch "
            f"{self.read + 1}. Leave out a smaller last batch: drop_last=True."
        )


def _stacked(rows: list[Any]) -> dict[str, Tensor]:
    """Rows as one batch."""
    found = {}
    for name in rows[0]:
        column = [row[name] for row in rows]
        if not all(isinstance(value, Tensor) for value in column):
            got = next(kind_of(value) for value in column if not isinstance(value, Tensor))
            raise DataError(
                f'fit requires numbers at "{name}", got {got}. Leave it out: dataset.remove_columns({name!r}).'
            )
        if len({value.shape for value in column}) > 1:
            shapes = sorted({tuple(value.shape) for value in column})
            raise DataError(
                f'fit requires rows of one shape at "{name}", got {shapes[0]} and {shapes[-1]}. Bring them to one '
                "size: dataset.map(...)."
            )
        found[name] = torch.stack(column)
    return found


def _signature(batch: Batch) -> dict[str, str]:
    return {name: _of(batch, name) for name in sorted(batch)}


def _of(batch: Batch, name: str) -> str:
    return f"{str(batch[name].dtype).removeprefix('torch.')} {tuple(batch[name].shape)}" if name in batch else "none"


def _same(one: Batch, other: Batch) -> bool:
    return _signature(one) == _signature(other) and all(torch.equal(one[name], other[name]) for name in one)


def _check_plain(state: Any, path: str) -> None:
    """Refuse what a checkpoint may not hold: it is read without running code."""
    if type(state) is dict:
        for name, part in state.items():
            _check_plain(name, path)
            _check_plain(part, f"{path}[{name!r}]")
    elif type(state) in (list, tuple):
        for number, part in enumerate(state):
            _check_plain(part, f"{path}[{number}]")
    elif not (state is None or type(state) in (bool, int, float, str, Tensor)):
        raise DataError(
            f"A run folder requires a stream whose state is made of numbers, texts, tensors, lists and dicts, got "
            f"{kind_of(state)} at {path}. {_PLACE}."
        )


def _on_cpu(state: Any) -> Any:
    """A state whose tensors are where a stream left them: a checkpoint is read to the device of the training."""
    if isinstance(state, Tensor):
        return state.cpu()
    if isinstance(state, dict):
        return {name: _on_cpu(part) for name, part in state.items()}
    return type(state)(map(_on_cpu, state)) if isinstance(state, list | tuple) else copy.deepcopy(state)
