from __future__ import annotations

import logging
import threading

import pytest

from serving.server.polling import Polling
from tests.serving.server.waiting import wait_until


def test_an_action_is_repeated_past_its_errors_until_it_is_stopped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[int] = []

    def action() -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            raise ZeroDivisionError("by design")

    with caplog.at_level(logging.ERROR):
        polling = Polling("test polling", action, 0.001)
        wait_until(lambda: len(calls) >= 3)
        polling.stop()
    count = len(calls)
    assert [record.getMessage() for record in caplog.records] == ["test polling failed"]
    assert "test polling" not in [thread.name for thread in threading.enumerate()]
    assert len(calls) == count


def test_stopping_waits_for_a_call_under_way() -> None:
    started, finish, finished = threading.Event(), threading.Event(), threading.Event()

    def action() -> None:
        started.set()
        finish.wait()
        finished.set()

    polling = Polling("test polling", action, 0)
    assert started.wait(30)
    stopping = threading.Thread(target=polling.stop)
    stopping.start()
    assert not finished.is_set()
    finish.set()
    stopping.join(30)
    assert finished.is_set()
