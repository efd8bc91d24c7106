"""Ctrl-C and SIGTERM during a training: it ends after the step that is under way."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["Interrupt", "interruptible"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Interrupt:
    """Whether the user has asked to stop.

    Attributes:
        asked: true after the first signal.
    """

    asked: bool = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """A context in which the first Ctrl-C or SIGTERM is noted, and the second one stops at once.

    Outside the main thread, where Python delivers no signals, nothing changes.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    previous = {number: signal.getsignal(number) for number in _SIGNALS}

    def ask(number: int, frame: Any) -> None:
        interrupt.asked = True
        for each, handler in previous.items():
            signal.signal(each, handler)

    for number in _SIGNALS:
        signal.signal(number, ask)
    try:
        yield interrupt
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
