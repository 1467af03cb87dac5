from __future__ import annotations

import asyncio
import time

import grpc
import numpy as np

from serving.loadtest.generator import Calls, run_phase
from serving.loadtest.plan import Phase


class Failure(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.DEADLINE_EXCEEDED


class Server:
    """Answers after a time of its own per request, many at once."""

    def __init__(self, seconds: dict[int, float], failing: tuple[int, ...] = ()) -> None:
        self.seconds = seconds
        self.failing = failing
        self.order: list[int] = []
        self.under_way = 0
        self.most_under_way = 0

    async def __call__(self, number: int, timeout_seconds: float) -> int:
        self.order.append(number)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(self.seconds.get(number, 0.0))
        self.under_way -= 1
        if number in self.failing:
            raise Failure
        return 40 + number


def run(server: Server, due: list[float], in_flight: int = 100) -> Calls:
    phase = Phase(np.array(due), np.arange(len(due)), in_flight, 1.0)
    return asyncio.run(run_phase(server, phase))


def test_requests_do_not_wait_for_answers() -> None:
    server = Server({0: 0.4})
    calls = run(server, [0.0, 0.01, 0.02])
    assert server.order == [0, 1, 2]
    assert server.most_under_way >= 2
    assert calls.finished[0] >= 0.4
    assert calls.finished[1] < calls.finished[0]
    assert calls.versions.tolist() == [40, 41, 42]
    assert not calls.held.any()


def test_nothing_is_sent_before_it_is_due() -> None:
    due = [0.0, 0.0, 0.05, 0.2]
    before = time.time()
    calls = run(Server({}), due)
    assert before <= calls.started <= time.time()
    assert (calls.sent >= np.array(due)).all()
    assert (calls.finished >= calls.sent).all()
    assert calls.wall_seconds >= 0.2
    assert len(calls.loop_lags) >= 1


def test_failures_are_kept_with_their_code() -> None:
    calls = run(Server({}, failing=(1,)), [0.0, 0.01, 0.02])
    assert calls.codes.tolist() == [0, grpc.StatusCode.DEADLINE_EXCEEDED.value[0], 0]
    assert calls.answered.tolist() == [True, False, True]


def test_what_the_bound_holds_back_is_sent_late_and_never_left_out() -> None:
    # One at a time, 0.1 s each, all due at once: the k-th answer cannot be there before k * 0.1 s.
    count = 5
    server = Server(dict.fromkeys(range(count), 0.1))
    calls = run(server, [0.0] * count, in_flight=1)
    assert server.most_under_way == 1
    assert calls.held.tolist() == [False] + [True] * (count - 1)
    assert (calls.latencies >= 0.1 * np.arange(1, count + 1) - 1e-3).all()
    assert (calls.finished - calls.sent)[1:].max() < calls.latencies[-1]


def test_a_request_due_while_another_was_held_counts_as_held() -> None:
    # The second is held until 0.3; the third was due at 0.1 and could not be sent before either.
    calls = run(Server({0: 0.3}), [0.0, 0.05, 0.1, 0.5], in_flight=1)
    assert calls.held.tolist() == [False, True, True, False]
    assert (calls.sent[1:3] >= 0.29).all()
