from __future__ import annotations

import numpy as np
import pytest

from serving.loadtest.summary import (
    Quantiles,
    latencies_with_failures,
    nearest_rank,
    summarise,
)
from tests.serving.loadtest.made_up_calls import calls_of


def test_quantiles_are_times_that_were_measured() -> None:
    # Nearest rank: the smallest time that at least the share of all times does not exceed.
    found = Quantiles.of_seconds(np.arange(1, 201) / 1000)
    assert found == Quantiles(p50=100, p95=190, p99=198, max=200)
    assert nearest_rank(np.array([3.0, 1.0, 2.0]), 2 / 3) == 2.0
    assert nearest_rank(np.array([3.0, 1.0, 2.0]), 0.7) == 3.0
    assert Quantiles.of_seconds(np.array([0.007])) == Quantiles(7, 7, 7, 7)
    assert Quantiles.of_seconds(np.zeros(0)) == Quantiles(0, 0, 0, 0)


def test_warmup_is_left_out_and_failures_count_as_the_deadline() -> None:
    calls = calls_of(
        due=[0.0, 1.0, 2.0, 3.0, 4.0],
        sent=[0.0, 1.0, 2.0, 3.5, 4.0],
        finished=[9.0, 1.1, 2.02, 4.2, 4.01],
        codes=[0, 0, 14, 0, 4],
        versions=[1, 1, 0, 2, 0],
        held=[False, False, False, True, False],
    )
    summary = summarise(calls, warmup_seconds=1.0, seconds=4.0, timeout_seconds=0.5)
    assert (summary.requests, summary.answered) == (4, 2)
    assert summary.failed == {"UNAVAILABLE": 1, "DEADLINE_EXCEEDED": 1}
    assert (summary.late_answers, summary.held) == (1, 1)
    assert summary.versions == {"1": 1, "2": 1}
    assert summary.throughput == pytest.approx(2 / 4)
    # 100 ms; a failure, 500; 1,200 from when it was due; a failure, 500.
    assert summary.latency_ms == Quantiles(p50=500, p95=1200, p99=1200, max=1200)
    assert summary.answer_ms.max == pytest.approx(700)
    counted = calls.selected(calls.due >= 1.0)
    np.testing.assert_allclose(latencies_with_failures(counted, 0.5), [0.1, 0.5, 1.2, 0.5])


def test_throughput_counts_until_the_last_answer_of_a_server_that_falls_behind() -> None:
    calls = calls_of(due=[1.0, 2.0], sent=[1.0, 2.0], finished=[2.0, 9.0])
    assert summarise(calls, 1.0, 2.0, 60.0).throughput == pytest.approx(2 / 8)


def evenly(lag: float, latency: float, **options: object):
    due = np.arange(200) / 100
    return calls_of(due.tolist(), (due + lag).tolist(), (due + latency).tolist(), **options)


@pytest.mark.parametrize(
    ("lag", "latency", "options", "reason"),
    [
        (0.0009, 0.002, {}, ""),
        (0.004, 0.050, {}, ""),
        (0.006, 0.050, {}, "sent requests 6 ms late"),
        (0.0, 0.002, {"loop_lags": (0.03,) * 50}, "noticed answers 30 ms late"),
        (0.0, 0.002, {"processor_seconds": 9.5}, "used 95%"),
        (0.02, 0.050, {"held": [True] * 200}, ""),
    ],
)
def test_a_generator_that_is_too_slow_is_found_out(
    lag: float, latency: float, options: dict[str, object], reason: str
) -> None:
    summary = summarise(evenly(lag, latency, **options), 0.0, 2.0, 1.0)
    assert (reason in summary.generator_too_slow) if reason else not summary.generator_too_slow


def test_no_requests_are_no_reason_to_fail() -> None:
    summary = summarise(calls_of([], [], []), 0.0, 1.0, 1.0)
    assert (summary.requests, summary.throughput, summary.generator_too_slow) == (0, 0.0, "")
