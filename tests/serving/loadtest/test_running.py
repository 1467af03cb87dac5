"""The generator as a process of its own, against a server whose delays are known."""

from __future__ import annotations

import time

import grpc
import numpy as np
import pytest

from configs.command_line import CommandError
from serving.client.errors import ModelAddress
from serving.client.grpc_client import predict_request
from serving.client.inputs import STRINGS_WITHOUT_PROFILE
from serving.client.requests import ranking_question
from serving.loadtest.generator import run_plan
from serving.loadtest.plan import Phase, Plan, arrival_times
from serving.loadtest.summary import Quantiles, summarise
from serving.protocol.messages import predict_pb2, prediction_service_pb2_grpc
from tests.serving.client.answering import USER
from tests.serving.loadtest.stalling import Stalling, serving

STALL, RATE, SECONDS, STALLED = 0.3, 100.0, 2.0, 80


def request(target: str) -> predict_pb2.PredictRequest:
    question = ranking_question(USER, ["x"], all_tasks=False)
    inputs = question.inputs(STRINGS_WITHOUT_PROFILE)
    return predict_request(ModelAddress(target, "m"), question, inputs)


def plan_of(target: str, due: np.ndarray, timeout_seconds: float = 10.0, bound: int = 500) -> Plan:
    phase = Phase(due, np.zeros(len(due), int), bound, timeout_seconds)
    return Plan([target], [request(target).SerializeToString()], [0], [phase])


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
        (calls,) = run_plan(plan_of(target, due))
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


def test_a_closed_loop_would_hide_the_stall() -> None:
    """What the test above guards against: one request at a time sees the stall once."""
    service = Stalling({STALLED: STALL})
    with serving(service) as target, grpc.insecure_channel(target) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        message = request(target)
        seconds = []
        for _ in range(200):
            started = time.perf_counter()
            predict(message)
            seconds.append(time.perf_counter() - started)
    stalled = np.sort(seconds)[-1]
    assert stalled >= STALL - 0.002
    # At most three of 200 may be slow for reasons of the machine: forced_latencies() has thirty.
    assert (np.array(seconds) >= 0.15).sum() <= 3
    assert (forced_latencies() >= 0.15).sum() == 16


def test_deadlines_count_from_sending_and_failures_are_kept() -> None:
    service = Stalling({0: 0.5})
    with serving(service) as target:
        (calls,) = run_plan(plan_of(target, np.array([0.0, 1.0]), timeout_seconds=0.2))
    assert calls.codes.tolist() == [grpc.StatusCode.DEADLINE_EXCEEDED.value[0], 0]
    assert calls.latencies[0] >= 0.2 - 0.01


def test_no_server_fails_every_request() -> None:
    with serving(Stalling()) as target:
        pass
    (calls,) = run_plan(plan_of(target, np.array([0.0, 0.1]), timeout_seconds=5.0))
    assert calls.codes.tolist() == [grpc.StatusCode.UNAVAILABLE.value[0]] * 2


def test_phases_follow_each_other_and_servers_take_their_own_requests() -> None:
    first, second = Stalling(), Stalling()
    with serving(first) as one, serving(second) as two:
        phases = [
            Phase(np.zeros(4), np.array([0, 1, 1, 1]), 2, 10.0),
            Phase(np.zeros(2), np.array([0, 0]), 2, 10.0),
        ]
        requests = [request(target).SerializeToString() for target in (one, two)]
        plan = Plan([one, two], requests, [0, 1], phases)
        calls = run_plan(plan)
    assert [len(phase.due) for phase in calls] == [4, 2]
    assert (first.arrived, second.arrived) == (3, 3)


def test_a_generator_that_fails_says_why() -> None:
    plan = Plan(["127.0.0.1:1"], [b""], [7], [Phase(np.zeros(1), np.zeros(1, int), 1, 1.0)])
    with pytest.raises(CommandError, match="the load generator ended with 1: IndexError"):
        run_plan(plan)
