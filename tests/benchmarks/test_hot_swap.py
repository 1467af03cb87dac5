from __future__ import annotations

import numpy as np
import pytest

from benchmarks.hot_swap import summarise_swaps
from tests.serving.loadtest.synthetic_calls import calls_of


def test_seconds_of_swaps_are_compared_with_quiet_time() -> None:
    # 100 requests a second of 10 ms. Two versions load for three seconds; then requests take 30 and
    # 50 ms, and 15 ms in the second around the first answer.
    due = np.arange(0, 40, 0.01)
    latency = np.full(len(due), 0.010)
    for published, slow in ((10.0, 0.030), (25.0, 0.050)):
        latency[(due >= published) & (due < published + 2.0)] = slow
        latency[(due >= published + 2.4) & (due < published + 3.6)] = 0.015
    latency[:100] = 0.2  # of the warm-up
    finished = due + latency
    versions = np.select([finished >= 28.0, finished >= 13.0], [3, 2], 1)
    codes = np.zeros(len(due), int)
    codes[5] = 14
    calls = calls_of(
        due.tolist(),
        due.tolist(),
        finished.tolist(),
        codes=codes.tolist(),
        versions=versions.tolist(),
    )
    actual = summarise_swaps(calls, 1.0, [10.0, 25.0])
    assert (actual["requests"], actual["failed"], actual["swaps"]) == (4000, 1, 2)
    assert actual["answers_of_new_versions"] == (versions > 1).sum()
    assert actual["p99_quiet_ms"] == pytest.approx(10)
    assert actual["p99_swap_seconds_ms"] == pytest.approx(15)
    assert actual["p99_worst_second_ms"] == pytest.approx(40)
    assert actual["swap_ratio"] == pytest.approx(1.5)
    assert actual["worst_second_ratio"] == pytest.approx(4.0)
    assert actual["worst_second_of_all_ratio"] == pytest.approx(5.0)
    assert actual["seconds_until_new_version"] == pytest.approx(3.0, abs=0.02)


def test_a_version_that_never_answers_is_no_result() -> None:
    with pytest.raises(SystemExit, match="version 2 never answered"):
        summarise_swaps(calls_of([1.0], [1.0], [1.1]), 0.0, [0.5])
