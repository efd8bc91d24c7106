"""Ctrl-C during a training: it ends after the step that is under way."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["Interrupt", "ctrl_c"]


@dataclass
class Interrupt:
    """Whether the user has asked to stop.

    Attributes:
        asked: true after the first Ctrl-C.
    """

    asked: bool = False


@contextmanager
def ctrl_c() -> Iterator[Interrupt]:
    """A context in which the first Ctrl-C is noted, and the second one stops at once.

    Outside the main thread, where Python delivers no signals, nothing changes.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    previous = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: Any) -> None:
        interrupt.asked = True
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, ask)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)
