from __future__ import annotations

from pathlib import Path

import numpy as np

from serving.loadtest.generator import read_calls, write_calls
from tests.serving.loadtest.made_up_calls import calls_of

FIRST = calls_of([0.0, 1.0], [0.1, 1.1], [0.2, 1.5], codes=[0, 4], held=[False, True])
SECOND = calls_of([], [], [], wall_seconds=2.5)


def test_calls_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_calls(tmp_path / "calls.npz", [FIRST, SECOND])
    found = read_calls(tmp_path / "calls.npz", 2)
    for calls, expected in zip(found, (FIRST, SECOND), strict=True):
        for name, value in vars(expected).items():
            np.testing.assert_array_equal(getattr(calls, name), value)
    assert found[1].wall_seconds == 2.5


def test_latency_counts_from_when_a_request_was_due() -> None:
    np.testing.assert_allclose(FIRST.latencies, [0.2, 0.5])
    assert FIRST.answered.tolist() == [True, False]
    assert FIRST.selected(FIRST.due >= 1).codes.tolist() == [4]
