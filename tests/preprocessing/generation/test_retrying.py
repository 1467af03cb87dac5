from __future__ import annotations

import threading

import pytest

from preprocessing.answers.completion import ChatResponse, Usage
from preprocessing.openai_connection import Interrupted, RequestRefused, Retrying, TransientFailure

RESPONSE = ChatResponse("Noir.", "stop", None, Usage(1, 1))


class Recorder(threading.Event):
    """Notes what it is asked to wait for, and does not wait."""

    def __init__(self, stopped: bool = False):
        super().__init__()
        self.delays: list[float] = []
        self._stopped = stopped

    def wait(self, timeout: float | None = None) -> bool:
        self.delays.append(timeout or 0.0)
        return self._stopped


def failing(times: int, failure: Exception):
    failures = iter([failure] * times)

    def call() -> ChatResponse:
        for problem in failures:
            raise problem
        return RESPONSE

    return call


def test_calls_again_until_there_is_a_response():
    stop = Recorder()
    retrying = Retrying(retries=9, first_delay=1.0, stop=stop)
    assert retrying.call(failing(9, TransientFailure("x", "y"))) == (RESPONSE, 9)
    bounds = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert all(0 <= delay <= bound for delay, bound in zip(stop.delays, bounds, strict=True))
    assert len(set(stop.delays)) == 9


def test_retry_after_is_waited_for_in_full():
    stop = Recorder()
    Retrying(1, 1.0, stop).call(failing(1, TransientFailure("x", "y", retry_after=30.0)))
    assert 30 <= stop.delays[0] <= 31


def test_retries_run_out():
    with pytest.raises(TransientFailure) as raised:
        Retrying(2, 1.0, Recorder()).call(failing(3, TransientFailure("x", "y")))
    assert raised.value.retries == 2 and raised.value.detail == "3 calls; y"


def test_too_long_a_wait_fails_at_once():
    stop = Recorder()
    with pytest.raises(TransientFailure) as raised:
        Retrying(5, 1.0, stop).call(failing(1, TransientFailure("x", "y", retry_after=86400.0)))
    assert "told to wait 86400 s" in raised.value.detail and stop.delays == []


def test_refused_requests_are_not_repeated():
    stop = Recorder()
    with pytest.raises(RequestRefused):
        Retrying(5, 1.0, stop).call(failing(1, RequestRefused("http_400", "no")))
    assert stop.delays == []


def test_stopping_ends_the_wait():
    with pytest.raises(Interrupted):
        Retrying(5, 1.0, Recorder(stopped=True)).call(failing(1, TransientFailure("x", "y")))
