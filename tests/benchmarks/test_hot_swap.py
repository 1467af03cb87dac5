from __future__ import annotations

import numpy as np
import pytest

from benchmarks.hot_swap import summarise_swap
from tests.serving.loadtest.made_up_calls import calls_of


def test_the_second_of_the_swap_is_compared_with_the_time_before() -> None:
    # 100 requests a second; 10 ms each, but 30 ms while the new version loads, and 15 ms in the
    # second around its first answer.
    due = np.arange(0, 20, 0.01)
    latency = np.full(len(due), 0.010)
    latency[(due >= 10.0) & (due < 12.0)] = 0.030
    latency[(due >= 12.6) & (due < 13.6)] = 0.015
    versions = np.where(due + latency >= 13.0, 2, 1)
    codes = np.zeros(len(due), int)
    codes[5] = 14
    calls = calls_of(
        due.tolist(),
        due.tolist(),
        (due + latency).tolist(),
        codes=codes.tolist(),
        versions=versions.tolist(),
    )
    found = summarise_swap(calls, warmup_seconds=1.0, published_seconds=10.0)
    assert (found["requests"], found["failed"]) == (2000, 1)
    assert found["p99_before_ms"] == pytest.approx(10)
    assert found["p99_swap_second_ms"] == pytest.approx(15)
    assert found["p99_worst_second_ms"] == pytest.approx(30)
    assert found["swap_ratio"] == pytest.approx(1.5)
    assert found["worst_ratio"] == pytest.approx(3.0)
    assert found["seconds_until_new_version"] == pytest.approx(3.0, abs=0.02)


def test_a_version_that_never_answers_is_no_result() -> None:
    with pytest.raises(SystemExit, match="version 2 never answered"):
        summarise_swap(calls_of([1.0], [1.0], [1.1]), 0.0, 0.5)
