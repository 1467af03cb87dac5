from __future__ import annotations

import threading

import grpc
import pytest

from serving.server.background import Background
from serving.server.errors import RequestError
from tests.serving.server.waiting import wait_until


def test_whoever_asks_waits_for_the_end() -> None:
    threads: list[threading.Thread] = []
    Background().run("test", lambda: threads.append(threading.current_thread()))
    assert [(thread.name, thread.daemon) for thread in threads] == [("test", True)]


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
