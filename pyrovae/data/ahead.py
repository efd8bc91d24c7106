"""Reading ahead: a thread reads the next batches while the present one is used."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, Full, Queue

import torch
from torch import Tensor

__all__ = ["ReadAhead"]

_BYTES = 2**26
"""The batches that are read ahead take about so many bytes at most."""

_BATCHES = 16
"""So many batches are read ahead at most."""

_WAIT = 0.1
"""Seconds after which the thread looks whether it is still wanted, and the reader whether the thread still lives."""

Read = Callable[[Tensor], dict[str, Tensor]]

_Ready = tuple[Tensor, dict[str, Tensor] | BaseException]
"""The rows of a batch, and the batch, or what was raised where it was read."""


class ReadAhead:
    """Batches in an order that is known before, read by a thread.

    The thread ends with `close`, after the last batch, and after an error, which `take` raises.

    Args:
        read: from row numbers to their batch.
        order: the rows of each batch.
        row_bytes: about how many bytes a row takes.
        pinned: whether to put the batches into pinned memory, from where they are copied to a GPU without waiting.
    """

    def __init__(self, read: Read, order: Sequence[Tensor], *, row_bytes: int, pinned: bool = False) -> None:
        self._read, self._order, self._pinned = read, order, pinned
        largest = max(1, len(order[0]) * row_bytes) if len(order) else 1
        self._ready: Queue[_Ready] = Queue(max(1, min(_BATCHES, _BYTES // largest)))
        self._closed, self._next = threading.Event(), None
        self._thread = threading.Thread(target=self._run, name="pyrovae reads ahead", daemon=True)
        self._thread.start()

    def take(self, rows: Tensor) -> dict[str, Tensor] | None:
        """The batch of some rows, if it is the next one of the order; else None.

        Args:
            rows: row numbers on the CPU.

        Raises:
            BaseException: what was raised where the thread read them.
        """
        self._next = self._next or self._wait()
        if self._next is None or not torch.equal(self._next[0], rows):
            return None
        (_, batch), self._next = self._next, None
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def close(self) -> None:
        """End the thread, and wait until it has ended."""
        self._closed.set()
        self._thread.join()

    _next: _Ready | None

    def _wait(self) -> _Ready | None:
        """The next batch; None after the last one."""
        while True:
            alive = self._thread.is_alive()
            with suppress(Empty):
                return self._ready.get(timeout=_WAIT) if alive else self._ready.get_nowait()
            if not alive:
                return None

    def _run(self) -> None:
        for rows in self._order:
            batch: dict[str, Tensor] | BaseException
            try:
                batch = self._made(rows)
            except BaseException as error:  # the caller's thread raises it
                batch = error
            self._put((rows, batch))
            if self._closed.is_set() or isinstance(batch, BaseException):
                return

    def _made(self, rows: Tensor) -> dict[str, Tensor]:
        batch = self._read(rows)
        return {name: tensor.pin_memory() for name, tensor in batch.items()} if self._pinned else batch

    def _put(self, ready: _Ready) -> None:
        while not self._closed.is_set():
            with suppress(Full):
                self._ready.put(ready, timeout=_WAIT)
                return
