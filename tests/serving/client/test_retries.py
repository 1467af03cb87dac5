from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from serving.client import retries
from serving.client.errors import RankingError, ServerUnavailable
from serving.client.retries import HedgeBudget, Hedger, Hedging, RetryPolicy


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


@pytest.mark.parametrize(
    ("hangs_from", "message"), [(2, "loading"), (1, "loading"), (0, "late"), (10**6, "loading")]
)
def test_a_last_attempt_cut_short_leaves_the_word_to_the_one_before(
    clock: Clock, hangs_from: int, message: str
) -> None:
    attempts = 0

    def attempt(seconds_left: float) -> None:
        nonlocal attempts
        attempts += 1
        if attempts > hangs_from:
            clock.now += seconds_left
            raise RankingError("DEADLINE_EXCEEDED", "late")
        raise RankingError("NOT_FOUND", "loading")

    with pytest.raises(RankingError, match=message):
        RetryPolicy.until_ready(0.2).call(attempt)


def test_a_server_that_hangs_is_late_whatever_it_said_before(clock: Clock) -> None:
    errors = iter([RankingError("NOT_FOUND", "loading")])

    def attempt(seconds_left: float) -> None:
        clock.now += (given := min(seconds_left, 2.0))
        raise next(errors, RankingError("DEADLINE_EXCEEDED", f"late after {given:g} s"))

    with pytest.raises(RankingError, match="late after 2 s"):
        RetryPolicy.until_ready(9.0).call(attempt)


@pytest.mark.parametrize("policy", [{"timeout_seconds": 0}, {"maximum_attempts": 0}])
def test_a_policy_without_an_attempt_is_refused(policy: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(policy))):
        RetryPolicy(**policy)


ALWAYS = Hedging(after_seconds=0.05, largest_share=1.0)


@pytest.mark.parametrize("share", [0.05, 0.1, 1 / 3, 1.0])
def test_hedges_never_exceed_their_share_of_a_server_that_is_always_slow(share: float) -> None:
    budget = HedgeBudget(share)
    for _ in range(1000):
        budget.count_request()
        budget.take()
        assert budget.hedges <= share * budget.requests + 1e-6
    assert budget.hedges >= int(share * 1000) - 1


def test_a_quiet_time_saves_up_no_more_than_a_burst() -> None:
    budget = HedgeBudget(0.5)
    for _ in range(10_000):
        budget.count_request()
    assert sum(budget.take() for _ in range(100)) == 10


def test_threads_share_a_budget() -> None:
    budget = HedgeBudget(0.25)

    def use(_: int) -> bool:
        budget.count_request()
        return budget.take()

    with ThreadPoolExecutor(8) as pool:
        taken = sum(pool.map(use, range(2000)))
    assert budget.requests == 2000
    assert taken == budget.hedges <= 500


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"after_seconds": 0}, "after_seconds"),
        ({"after_seconds": 1, "largest_share": 0}, "largest_share"),
        ({"after_seconds": 1, "largest_share": 1.5}, "largest_share"),
    ],
)
def test_impossible_hedging_is_refused(options: dict[str, float], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Hedging(**options)


class Failed(grpc.RpcError):
    """A call that failed."""

    def __init__(self, name: str):
        super().__init__(name)
        self.name = name


class Call:
    """A `grpc.Future` that ends when it is told to; `then` follows when that was passed on."""

    def __init__(self, outcome: object):
        self._outcome = outcome
        self._callback: Callable[[Call], None] | None = None
        self._ended = False
        self.cancelled = False
        self.then: Callable[[], None] = lambda: None

    def end(self) -> None:
        self._ended = True
        self._pass_on()

    def add_done_callback(self, callback: Callable[[Call], None]) -> None:
        self._callback = callback
        self._pass_on()

    def _pass_on(self) -> None:
        if self._ended and self._callback is not None:
            self._callback(self)
            self.then()

    def code(self) -> grpc.StatusCode:
        failed = isinstance(self._outcome, Failed)
        return grpc.StatusCode.UNAVAILABLE if failed else grpc.StatusCode.OK

    def cancel(self) -> None:
        self.cancelled = True

    def result(self) -> object:
        if isinstance(self._outcome, Failed):
            raise self._outcome
        return self._outcome


AT_ONCE, FIRST, LAST, NEVER = range(4)
CASES = [
    ([(AT_ONCE, "first")], "first", 0),
    ([(NEVER, "first"), (FIRST, "second")], "second", 1),
    ([(FIRST, "first"), (NEVER, "second")], "first", 1),
    ([(FIRST, Failed("first")), (LAST, "second")], "second", 1),
    ([(LAST, "first"), (FIRST, Failed("second"))], "first", 1),
    ([(FIRST, Failed("first")), (LAST, Failed("second"))], Failed, 1),
    ([(AT_ONCE, Failed("first"))], Failed, 0),
]
"""When calls end, once all have begun, and what they give; the result, and the number of hedges."""


@pytest.mark.parametrize(("outcomes", "expected", "hedges"), CASES)
def test_the_first_good_answer_counts(outcomes: list, expected: object, hedges: int) -> None:
    hedger = Hedger(ALWAYS)
    calls: list[Call] = []
    deadlines: list[float] = []

    def start(seconds: float) -> Call:
        deadlines.append(seconds)
        calls.append(Call(outcomes[len(calls)][1]))
        if len(calls) == len(outcomes):
            places = sorted(range(len(calls)), key=lambda place: outcomes[place][0])
            ending = [calls[place] for place in places if outcomes[place][0] != NEVER]
            for one, following in itertools.pairwise(ending):
                one.then = following.end
            ending[0].end()
        return calls[-1]

    if expected is Failed:
        with pytest.raises(Failed):
            hedger.first_response(start, 20.0)
    else:
        assert hedger.first_response(start, 20.0) == expected
    assert hedger.budget.hedges == hedges
    assert deadlines == [20.0, 19.95][: 1 + hedges]
    left = [call for call, (turn, _) in zip(calls, outcomes, strict=True) if turn == NEVER]
    assert all(call.cancelled for call in left)


@pytest.mark.parametrize(("outcomes", "expected", "hedges"), CASES)
def test_the_first_good_answer_counts_without_threads(
    outcomes: list, expected: object, hedges: int
) -> None:
    hedger = Hedger(ALWAYS)
    started, cancelled = [], []

    async def ask() -> object:
        turns = [asyncio.Event() for _ in range(4)]
        turns[AT_ONCE].set()

        async def start(seconds: float) -> object:
            turn, outcome = outcomes[len(started)]
            started.append(seconds)
            number = len(started) - 1
            if len(started) == 2:
                turns[FIRST].set()
            try:
                await turns[turn].wait()
            except asyncio.CancelledError:
                cancelled.append(number)
                raise
            if turn == LAST:  # when the end of the other one was noticed
                for _ in range(9):
                    await asyncio.sleep(0)
            turns[LAST].set()
            if isinstance(outcome, Failed):
                raise outcome
            return outcome

        answer = await hedger.first_answer_async(start, 20.0)
        await asyncio.sleep(0)
        return answer

    if expected is Failed:
        with pytest.raises(Failed):
            asyncio.run(ask())
    else:
        assert asyncio.run(ask()) == expected
    assert hedger.budget.hedges == hedges
    assert started == [20.0, 19.95][: 1 + hedges]
    assert cancelled == [number for number, (turn, _) in enumerate(outcomes) if turn == NEVER]


def test_without_budget_the_first_answer_is_waited_for() -> None:
    hedger = Hedger(Hedging(after_seconds=0.05, largest_share=0.01))
    calls: list[Call] = []

    def start(seconds: float) -> Call:
        calls.append(Call("first"))
        threading.Timer(0.2, calls[-1].end).start()
        return calls[-1]

    assert hedger.first_response(start, 20.0) == "first"
    assert len(calls) == 1
