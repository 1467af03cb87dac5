from __future__ import annotations

import signal
import threading

import pytest

from preprocessing.generation.interrupting import stop_on_interrupt


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
