from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from preprocessing.answers.completion import Usage
from preprocessing.generation.client import Budget, stop_on_interrupt
from preprocessing.prompting.token_costs import Prices

FREE = Prices(None, None)


def test_what_is_in_flight_counts_at_its_most():
    budget = Budget(tokens=100, dollars=None, prices=FREE)
    most = Usage(10, 30)
    assert budget.reserve(most) and budget.reserve(most) and not budget.reserve(most)
    budget.release(most)
    budget.spend(Usage(10, 5))
    assert not budget.reserve(Usage(10, 36))  # 15 spent, 40 reserved
    assert budget.reserve(Usage(10, 35))
    assert (budget.prompt_tokens, budget.completion_tokens) == (10, 5)


def test_dollars():
    budget = Budget(tokens=None, dollars=1.0, prices=Prices(1.0, 4.0))
    assert not budget.reserve(Usage(1, 250_000))
    assert budget.reserve(Usage(0, 250_000))
    budget.release(Usage(0, 250_000))
    budget.spend(Usage(100_000, 100_000, estimated=True))
    assert budget.cost == pytest.approx(0.5) and budget.estimated_calls == 1


def test_without_limits_everything_fits_and_without_prices_nothing_has_a_cost():
    budget = Budget(None, None, FREE)
    assert budget.reserve(Usage(10**12, 10**12)) and budget.cost is None


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
    actual = []

    def work() -> None:
        with stop_on_interrupt() as stop:
            actual.append((stop.is_set(), signal.getsignal(signal.SIGINT)))

    usual = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert actual == [(False, usual)]
