from __future__ import annotations

import os
import threading

import grpc
import pytest

from serving.server.background import Background, BackgroundThread
from serving.server.errors import RequestError
from tests.serving.server.waiting import wait_until


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_a_background_thread_alone_has_a_lower_priority() -> None:
    before, found = priority(), []
    thread = BackgroundThread("test", lambda: found.append(priority()))
    thread.start()
    thread.join(30)
    assert found == [min(before + 10, 19)]
    assert thread.daemon
    assert priority() == before


def test_whoever_asks_waits_for_the_end() -> None:
    found: list[str] = []
    Background().run("test", lambda: found.append(threading.current_thread().name))
    assert found == ["test"]


def test_what_fails_fails_for_whoever_asked() -> None:
    def fail() -> None:
        raise ZeroDivisionError("by design")

    background = Background()
    with pytest.raises(ZeroDivisionError, match="by design"):
        background.run("test", fail)
    background.stop()


def test_a_stop_lets_go_of_those_who_wait_and_leaves_the_action_alone() -> None:
    background, started, finish, finished = Background(), *(threading.Event() for _ in range(3))
    refusals: list[RequestError] = []

    def action() -> None:
        started.set()
        assert finish.wait(30)
        finished.set()

    def ask() -> None:
        with pytest.raises(RequestError) as refusal:
            background.run("test", action)
        refusals.append(refusal.value)

    asking = threading.Thread(target=ask)
    asking.start()
    assert started.wait(30)
    background.stop()
    asking.join(30)
    assert [refusal.code for refusal in refusals] == [grpc.StatusCode.UNAVAILABLE]
    assert not finished.is_set()
    finish.set()
    assert finished.wait(30)
    with pytest.raises(RequestError, match="stopping"):
        background.run("late", finished.clear)
    assert finished.is_set()
    wait_until(lambda: "test" not in [thread.name for thread in threading.enumerate()])


def test_a_priority_that_cannot_be_changed_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError("by design")

    monkeypatch.setattr(os, "setpriority", refuse)
    found: list[int] = []
    Background().run("test", lambda: found.append(1))
    assert found == [1]
