"""Reading ahead: a thread reads what is needed next while the present steps run."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

import torch
from torch import Tensor

__all__ = ["ReadAhead"]

_BYTES = 2**26
"""What is read ahead takes about so many bytes at most."""

_BLOCKS = 16
"""So many blocks are read ahead at most."""

_WAIT = 0.1
"""Seconds after which the thread looks whether it is still wanted, and the reader whether the thread still lives."""

Block = TypeVar("Block")


class ReadAhead(Generic[Block]):
    """Blocks of rows in an order that is known before, read by a thread.

    The thread ends with `close`, after the last block, and after an error, which `take` raises.

    Args:
        read: from row numbers to their block.
        order: the rows of each block.
        block_bytes: about how many bytes a block takes.
    """

    def __init__(self, read: Callable[[Tensor], Block], order: Iterable[Tensor], *, block_bytes: int) -> None:
        self._read, self._order = read, order
        self._ready: Queue[tuple[Tensor, Block | BaseException]] = Queue(max(1, min(_BLOCKS, _BYTES // block_bytes)))
        self._closed = threading.Event()
        self._next: tuple[Tensor, Block | BaseException] | None = None
        self._thread = threading.Thread(target=self._run, name="pyrovae reads ahead", daemon=True)
        self._thread.start()

    def take(self, rows: Tensor) -> Block | None:
        """The block of some rows, if it is the next one of the order; else None.

        Args:
            rows: row numbers on the CPU.

        Raises:
            BaseException: what was raised where the thread read them.
        """
        self._next = self._next or self._wait()
        if self._next is None or not torch.equal(self._next[0], rows):
            return None
        (_, block), self._next = self._next, None
        if isinstance(block, BaseException):
            raise block
        return block

    def close(self) -> None:
        """End the thread, and wait until it has ended."""
        self._closed.set()
        self._thread.join()

    def _wait(self) -> tuple[Tensor, Block | BaseException] | None:
        """The next block; None after the last one."""
        while True:
            alive = self._thread.is_alive()
            with suppress(Empty):
                return self._ready.get(timeout=_WAIT) if alive else self._ready.get_nowait()
            if not alive:
                return None

    def _run(self) -> None:
        rows = torch.empty(0, dtype=torch.int64)
        try:
            for rows in self._order:
                self._put(rows, self._read(rows))
                if self._closed.is_set():
                    return
        except BaseException as error:  # the caller's thread raises it
            self._put(rows, error)

    def _put(self, rows: Tensor, block: Block | BaseException) -> None:
        while not self._closed.is_set():
            with suppress(Full):
                self._ready.put((rows, block), timeout=_WAIT)
                return
