"""Ctrl-C: the first is noted, the second stops, and the old handler comes back."""

import signal
import threading

import pytest

from pyrovae.inference.training.interrupt import ctrl_c


def test_the_first_is_noted_and_the_second_stops():
    before = signal.getsignal(signal.SIGINT)
    with ctrl_c() as interrupt:
        assert not interrupt.asked
        signal.raise_signal(signal.SIGINT)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_brings_the_old_handler_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyError), ctrl_c():
        raise KeyError
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_changes():
    handlers = []

    def run():
        with ctrl_c() as interrupt:
            handlers.append((signal.getsignal(signal.SIGINT), interrupt.asked))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert handlers == [(signal.getsignal(signal.SIGINT), False)]
