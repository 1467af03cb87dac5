from __future__ import annotations

import asyncio
import dataclasses
import selectors
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import scipy.stats

from configs.command_line import CommandError
from serving.client.connection import Tls
from serving.client.errors import ModelAddress
from serving.client.grpc_client import predict_request
from serving.client.inputs import STRINGS_WITHOUT_PROFILE
from serving.client.requests import ranking_call
from serving.loadtest import generator
from serving.loadtest.generator import (
    Calls,
    LoadPlan,
    Phase,
    arrival_times,
    calls_from_bytes,
    calls_to_bytes,
    carry_out,
    run_load,
    run_phase,
)
from serving.loadtest.summary import Quantiles, summarise
from serving.protocol.messages import predict_pb2
from tests.ports import free_ports
from tests.serving.client.answering import USER
from tests.serving.loadtest.stalling import Stalling, serving
from tests.serving.loadtest.synthetic_calls import calls_of
from tests.serving.server.certificates import server_credentials, write_certificates
from tests.waiting import LONGEST_SECONDS, NEVER_SECONDS


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


NOON = 1_800_000_000.0


class Leaping(selectors.SelectSelector):
    """Waits for nothing: the seconds that a loop would wait have passed at once."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list:
        self.passed += timeout or 0.0
        return super().select(0)


def run(server: Server, due: list[float], in_flight: int = 100) -> Calls:
    """Carries out a phase, in which nothing takes time but what waits."""
    phase = Phase(np.array(due), np.arange(len(due)), in_flight, 1.0)
    selector = Leaping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.passed  # type: ignore[method-assign]
    clock = SimpleNamespace(
        perf_counter=loop.time, process_time=loop.time, time=lambda: NOON + selector.passed
    )
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=lambda: loop) as runner:
        patch.setattr(generator, "time", clock)
        return runner.run(run_phase(server, phase))


def test_requests_do_not_wait_for_answers() -> None:
    server = Server({0: 1.0})
    calls = run(server, [0.0, 0.01, 0.02])
    assert server.order == [0, 1, 2]
    assert server.most_under_way == 2
    np.testing.assert_allclose(calls.finished, [1.0, 0.01, 0.02], atol=1e-9)
    assert calls.versions.tolist() == [40, 41, 42]
    assert not calls.held.any()


def test_every_request_is_sent_when_it_is_due() -> None:
    due = [0.0, 0.0, 0.05, 0.2]
    calls = run(Server({3: 0.1}), due)
    np.testing.assert_allclose(calls.sent, due, atol=1e-9)
    np.testing.assert_allclose(calls.finished, [0.0, 0.0, 0.05, 0.3], atol=1e-9)
    lead = calls.started - NOON
    assert 0 < lead < 1 and calls.wall_seconds == pytest.approx(lead + 0.3, abs=1e-6)
    assert len(calls.loop_lags) > 20
    np.testing.assert_allclose(calls.loop_lags, 0, atol=1e-9)


def test_failures_are_kept_with_their_code() -> None:
    calls = run(Server({}, failing=(1,)), [0.0, 0.01, 0.02])
    assert calls.codes.tolist() == [0, grpc.StatusCode.DEADLINE_EXCEEDED.value[0], 0]
    assert calls.answered.tolist() == [True, False, True]


def test_what_the_bound_holds_back_is_sent_late_and_never_left_out() -> None:
    # One at a time, 0.1 s each, all due at once: the k-th answer is there after k * 0.1 s.
    count = 5
    server = Server(dict.fromkeys(range(count), 0.1))
    calls = run(server, [0.0] * count, in_flight=1)
    assert server.most_under_way == 1
    assert calls.held.tolist() == [False] + [True] * (count - 1)
    np.testing.assert_allclose(calls.latencies, 0.1 * np.arange(1, count + 1), atol=1e-9)
    np.testing.assert_allclose(calls.finished - calls.sent, 0.1, atol=1e-9)


def test_a_request_due_while_another_was_held_counts_as_held() -> None:
    # The second is held until 0.3; the third was due at 0.1 and could not be sent before either.
    calls = run(Server({0: 0.3}), [0.0, 0.05, 0.1, 1.5], in_flight=1)
    assert calls.held.tolist() == [False, True, True, False]
    np.testing.assert_allclose(calls.sent, [0.0, 0.3, 0.3, 1.5], atol=1e-9)


def test_even_arrivals_have_equal_gaps() -> None:
    assert arrival_times("even", 4.0, 1.5, 0).tolist() == [0, 0.25, 0.5, 0.75, 1.0, 1.25]


def test_poisson_arrivals_have_exponential_gaps() -> None:
    due = arrival_times("poisson", 50.0, 200.0, seed=3)
    assert due[0] >= 0 and due[-1] < 200
    # The number is Poisson with mean 10,000: five standard deviations.
    assert abs(len(due) - 10_000) < 500
    assert scipy.stats.kstest(np.diff(due), scipy.stats.expon(scale=1 / 50).cdf).pvalue > 1e-3


@pytest.mark.parametrize("arrivals", ["poisson", "even"])
def test_a_seed_gives_the_same_schedule_and_another_one_other_gaps(arrivals: str) -> None:
    first, second, other = (arrival_times(arrivals, 20.0, 5.0, seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, second)
    assert (np.diff(first) >= 0).all()
    assert np.array_equal(first, other) == (arrivals == "even")


STALL, RATE, SECONDS, STALLED = 0.3, 100.0, 2.0, 80


def request(target: str) -> predict_pb2.PredictRequest:
    call = ranking_call(USER, ["x"], all_tasks=False)
    inputs = call.inputs(STRINGS_WITHOUT_PROFILE)
    return predict_request(ModelAddress(target, "m"), call, inputs)


def plan_of(
    target: str, due: np.ndarray, timeout_seconds: float = LONGEST_SECONDS, bound: int = 500
) -> LoadPlan:
    phase = Phase(due, np.zeros(len(due), int), bound, timeout_seconds)
    return LoadPlan(target, [request(target).SerializeToString()], [phase])


def forced_latencies() -> np.ndarray:
    """What one stall of a server forces on every request that is due meanwhile, in seconds.

    The server answers in turn, and request `STALLED` is answered no sooner than `STALL` after it
    was due. The request that is due j gaps later is answered after that: it takes at least
    STALL - j / RATE.
    """
    forced = np.zeros(round(RATE * SECONDS))
    after = np.arange(len(forced) - STALLED)
    forced[STALLED:] = np.maximum(0.0, STALL - after / RATE)
    return forced


def test_a_stall_is_seen_by_every_request_that_was_due_meanwhile() -> None:
    due = arrival_times("even", RATE, SECONDS, 0)
    service = Stalling({STALLED: STALL})
    with serving(service) as target:
        (calls,) = run_load(plan_of(target, due))
    assert service.arrived == len(due) == 200
    assert calls.answered.all()
    assert set(calls.versions) == {5}
    assert (calls.sent >= due).all()
    forced = forced_latencies()
    # The clocks of two processes and of sleep agree to far less than this.
    assert (calls.latencies >= forced - 0.002).all()
    assert (forced > 0).sum() == 30
    summary = summarise(calls, 0.0, SECONDS, 10.0)
    assert (summary.requests, summary.answered, summary.failed) == (200, 200, {})
    expected = Quantiles.of_seconds(forced)
    assert expected == Quantiles(p50=0, p95=200, p99=280, max=300)
    for name in ("p50", "p95", "p99", "max"):
        assert getattr(summary.latency_ms, name) >= getattr(expected, name) - 2


def test_deadlines_count_from_sending() -> None:
    with serving(Stalling({0: NEVER_SECONDS})) as target:
        (calls,) = run_load(plan_of(target, np.array([0.0]), timeout_seconds=0.2))
    assert calls.codes.tolist() == [grpc.StatusCode.DEADLINE_EXCEEDED.value[0]]
    assert calls.latencies[0] >= 0.2 - 0.01


def test_no_server_fails_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "_CONNECT_SECONDS", 0.1)
    with free_ports(1) as (port,):
        plan = plan_of(f"127.0.0.1:{port}", np.array([0.0, 0.1]))
        (calls,) = asyncio.run(carry_out(plan))
    assert calls.codes.tolist() == [grpc.StatusCode.UNAVAILABLE.value[0]] * 2


def test_phases_follow_each_other() -> None:
    service = Stalling()
    with serving(service) as target:
        phases = [
            Phase(np.zeros(4), np.array([0, 1, 1, 1]), 2, LONGEST_SECONDS),
            Phase(np.zeros(2), np.array([0, 0]), 2, LONGEST_SECONDS),
        ]
        requests = [request(name).SerializeToString() for name in (target, "other:1")]
        calls = run_load(LoadPlan(target, requests, phases))
    assert [len(phase.due) for phase in calls] == [4, 2]
    assert service.arrived == 6
    assert all(phase.answered.all() and set(phase.versions) == {5} for phase in calls)
    assert [request.model_spec.name for request in service.requests] == ["m"] * 6


def test_an_encrypted_connection_shows_the_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "_CONNECT_SECONDS", 0.1)
    write_certificates(tmp_path)
    monkeypatch.chdir(tmp_path)
    tls = Tls("authority.pem", Path("client.pem"), tmp_path / "client.key")
    with serving(Stalling(), server_credentials(tmp_path)) as target:
        plain = plan_of(target, np.zeros(3))
        (trusted,) = run_load(dataclasses.replace(plain, tls=tls))
        (refused,) = asyncio.run(carry_out(plain))
    assert trusted.answered.all() and not refused.answered.any()


def test_a_generator_that_fails_says_why() -> None:
    with serving(Stalling()) as target:
        phase = Phase(np.zeros(1), np.array([7]), 1, 10.0)
        plan = dataclasses.replace(plan_of(target, np.zeros(1)), phases=[phase])
        with pytest.raises(CommandError, match="the load generator ended with 1: IndexError"):
            run_load(plan)


FIRST = calls_of([0.0, 1.0], [0.1, 1.1], [0.2, 1.5], codes=[0, 4], held=[False, True])


def test_latency_counts_from_when_a_request_was_due() -> None:
    np.testing.assert_allclose(FIRST.latencies, [0.2, 0.5])
    assert FIRST.answered.tolist() == [True, False]
    assert FIRST.selected(FIRST.due >= 1).codes.tolist() == [4]


def test_a_plan_reaches_another_process_as_it_was() -> None:
    phases = [
        Phase(np.array([0.0, 0.5]), np.array([2, 0]), 3, 1.5),
        Phase(np.array([0.25]), np.array([1]), 1, 2.0),
    ]
    plan = LoadPlan(
        target="a:1",
        requests=[b"first", b"", b"\x00third"],
        phases=phases,
        tls=Tls("ca.pem", Path("client.pem"), Path("client.key")),
    )
    read = LoadPlan.from_bytes(plan.to_bytes())
    assert (read.requests, read.target) == (plan.requests, plan.target)
    assert read.tls == Tls("ca.pem", "client.pem", "client.key")
    assert LoadPlan.from_bytes(dataclasses.replace(plan, tls=None).to_bytes()).tls is None
    for phase, expected in zip(read.phases, phases, strict=True):
        np.testing.assert_array_equal(phase.due, expected.due)
        np.testing.assert_array_equal(phase.requests, expected.requests)
        assert phase.in_flight == expected.in_flight
        assert phase.timeout_seconds == expected.timeout_seconds


def test_calls_come_back_from_another_process_as_they_were() -> None:
    first = calls_of([0.0, 1.0], [0.1, 1.1], [0.2, 1.5], codes=[0, 4], held=[False, True])
    second = calls_of([], [], [], wall_seconds=2.5)
    read = calls_from_bytes(calls_to_bytes([first, second]), 2)
    for calls, expected in zip(read, (first, second), strict=True):
        for name, value in vars(expected).items():
            np.testing.assert_array_equal(getattr(calls, name), value)
    assert read[1].wall_seconds == 2.5
