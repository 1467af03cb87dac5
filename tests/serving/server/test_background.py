from __future__ import annotations

import logging
import threading

import grpc
import pytest

from serving.server.background import Background, Polling
from serving.server.errors import RequestError
from tests.waiting import LONGEST_SECONDS, wait_until


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
        assert finish.wait(LONGEST_SECONDS)
        finished.set()

    def ask() -> None:
        with pytest.raises(RequestError) as refusal:
            background.run("test", action)
        refusals.append(refusal.value)

    asking = threading.Thread(target=ask)
    asking.start()
    assert started.wait(LONGEST_SECONDS)
    background.stop()
    asking.join(LONGEST_SECONDS)
    assert [refusal.code for refusal in refusals] == [grpc.StatusCode.UNAVAILABLE]
    assert not finished.is_set()
    finish.set()
    assert finished.wait(LONGEST_SECONDS)
    with pytest.raises(RequestError, match="stopping"):
        background.run("late", finished.clear)
    assert finished.is_set()
    wait_until(lambda: "test" not in [thread.name for thread in threading.enumerate()])


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
    assert started.wait(LONGEST_SECONDS)
    stopping = threading.Thread(target=polling.stop)
    stopping.start()
    assert not finished.is_set()
    finish.set()
    stopping.join(LONGEST_SECONDS)
    assert finished.is_set()


def test_a_stop_leaves_a_call_under_way_alone_after_a_time() -> None:
    started, finish = threading.Event(), threading.Event()
    calls: list[int] = []

    def action() -> None:
        calls.append(1)
        started.set()
        finish.wait(LONGEST_SECONDS)

    polling = Polling("test polling", action, 0)
    assert started.wait(LONGEST_SECONDS)
    stopping = threading.Thread(target=polling.stop, args=(0.01,))
    stopping.start()
    stopping.join(LONGEST_SECONDS)
    assert not stopping.is_alive()
    finish.set()
    polling.stop()
    assert calls == [1]


def test_a_lasting_fault_is_logged_once_and_a_new_one_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[int] = []

    def action() -> None:
        calls.append(1)
        if len(calls) != 6:
            raise ValueError("first" if len(calls) < 4 else "second")

    with caplog.at_level(logging.ERROR):
        polling = Polling("test polling", action, 0.001)
        wait_until(lambda: len(calls) >= 8)
        polling.stop()
    faults = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert faults == ["first", "second", "second"]
