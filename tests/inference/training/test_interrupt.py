"""Ctrl-C and SIGTERM: the first is noted, the second stops, and the old handlers come back."""

import signal
import threading

import pytest

from pyrovae.inference.training.interrupt import interruptible


@pytest.fixture(autouse=True)
def before():
    """Python's own handler, which a process that was started in the background lacks."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, old)


def test_the_first_is_noted_and_the_second_stops(before):
    with interruptible() as interrupt:
        assert not interrupt.asked
        signal.raise_signal(signal.SIGINT)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_is_noted_and_ctrl_c_then_stops(before):
    old = signal.getsignal(signal.SIGTERM)
    with interruptible() as interrupt:
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.asked
        assert signal.getsignal(signal.SIGTERM) is old
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is old


def test_an_error_brings_the_old_handler_back(before):
    with pytest.raises(KeyError), interruptible():
        raise KeyError
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_changes():
    handlers = []

    def run():
        with interruptible() as interrupt:
            handlers.append((signal.getsignal(signal.SIGINT), interrupt.asked))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert handlers == [(signal.getsignal(signal.SIGINT), False)]
