from __future__ import annotations

import pytest

from serving.client import retries
from serving.client.errors import RankingError, ServerUnavailable
from serving.client.retries import RetryPolicy


class Clock:
    """Time that only waiting moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self.oversleeps = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds + self.oversleeps


class Server:
    """Is unavailable a number of times, then answers."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.seconds_left: list[float] = []

    def __call__(self, seconds_left: float) -> str:
        self.seconds_left.append(seconds_left)
        if len(self.seconds_left) <= self.failures:
            raise ServerUnavailable("not yet")
        return "answer"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(retries, "time", clock)
    return clock


def test_the_first_answer_needs_no_wait(clock: Clock) -> None:
    server = Server(failures=0)
    assert RetryPolicy(timeout_seconds=3).call(server) == "answer"
    assert server.seconds_left == [3.0]
    assert clock.waits == []


def test_waits_double_up_to_a_bound_and_are_jittered(clock: Clock) -> None:
    policy = RetryPolicy(60, 7, first_wait_seconds=0.1, longest_wait_seconds=1.0)
    assert policy.call(Server(failures=6)) == "answer"
    full = [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    for wait, longest in zip(clock.waits, full, strict=True):
        assert longest / 2 <= wait <= longest
    assert clock.waits != full


def test_each_attempt_gets_the_time_that_is_left(clock: Clock) -> None:
    server = Server(failures=2)
    RetryPolicy(timeout_seconds=5).call(server)
    assert server.seconds_left == pytest.approx(
        [5.0, 5.0 - clock.waits[0], 5.0 - clock.waits[0] - clock.waits[1]]
    )


@pytest.mark.parametrize("attempts", [1, 3])
def test_attempts_are_counted(clock: Clock, attempts: int) -> None:
    server = Server(failures=99)
    with pytest.raises(ServerUnavailable):
        RetryPolicy(60, attempts).call(server)
    assert len(server.seconds_left) == attempts


def test_the_deadline_ends_the_retries(clock: Clock) -> None:
    server = Server(failures=10**6)
    with pytest.raises(ServerUnavailable):
        RetryPolicy(timeout_seconds=10, maximum_attempts=10**6).call(server)
    assert clock.now < 110
    assert min(server.seconds_left) > 0


def test_an_attempt_after_an_overslept_wait_still_has_some_time(clock: Clock) -> None:
    clock.oversleeps = 60.0
    server = Server(failures=1)
    assert RetryPolicy(timeout_seconds=5).call(server) == "answer"
    assert 0 < server.seconds_left[1] < 0.01


def test_the_parts_of_a_longer_call_share_its_deadline(clock: Clock) -> None:
    policy = RetryPolicy(timeout_seconds=5)
    until = policy.deadline()
    clock.now += 3.0
    first, second = Server(failures=0), Server(failures=10**6)
    policy.call(first, until)
    assert first.seconds_left == pytest.approx([2.0])
    with pytest.raises(ServerUnavailable):
        RetryPolicy(5, 10**6).call(second, until)
    assert clock.now < 105


def test_what_waiting_does_not_mend_is_not_retried(clock: Clock) -> None:
    calls = []

    def attempt(seconds_left: float) -> None:
        calls.append(seconds_left)
        raise RankingError("NOT_FOUND", "no such model")

    with pytest.raises(RankingError, match="no such model"):
        RetryPolicy().call(attempt)
    assert len(calls) == 1


@pytest.mark.parametrize("policy", [{"timeout_seconds": 0}, {"maximum_attempts": 0}])
def test_a_policy_without_an_attempt_is_refused(policy: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(policy))):
        RetryPolicy(**policy)
