from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from preprocessing.generation.client import stop_on_interrupt


@pytest.fixture(autouse=True)
def usual_interrupts() -> Iterator[None]:
    """Programs in the background of a shell are started with interrupts ignored."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, inherited)


def test_the_first_interrupt_asks_and_the_second_one_interrupts(capsys):
    usual = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop_on_interrupt() as stop:
        assert not stop.is_set()
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set() and "stopping" in capsys.readouterr().err
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is usual


def test_another_thread_leaves_signals_alone():
    found = []

    def work() -> None:
        with stop_on_interrupt() as stop:
            found.append((stop.is_set(), signal.getsignal(signal.SIGINT)))

    usual = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, usual)]
