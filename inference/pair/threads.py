"""One thread at a time: Pyro's handlers, its store of parameters and its settings belong to the process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pyrovae.errors import ThreadError

__all__ = ["one_thread"]

_RUNNING = threading.RLock()


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, no other thread runs a pair; contexts of one thread may lie inside each other.

    Raises:
        ThreadError: another thread runs a pair.
    """
    if not _RUNNING.acquire(blocking=False):
        raise ThreadError(
            f"a pair requires one thread of a process at a time, got a call from {threading.current_thread().name!r} "
            "while another thread runs one. Put a threading.Lock around the calls, or use processes."
        )
    try:
        yield
    finally:
        _RUNNING.release()
