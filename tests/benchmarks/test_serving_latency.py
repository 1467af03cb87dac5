from __future__ import annotations

import argparse

import numpy as np

from benchmarks.serving_latency import taking_turns


def test_programs_take_turns_in_an_order_that_rotates() -> None:
    arguments = argparse.Namespace(rate=10.0, turn_seconds=0.2, rounds=2, users=3)
    phase, rounds = taking_turns(2, arguments)
    np.testing.assert_allclose(phase.due, np.arange(12) / 10)
    assert rounds.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    programs = phase.requests // 3
    assert programs.tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1]
    # In a round both programs get the same users.
    assert (phase.requests % 3).tolist() == [0, 1, 0, 1, 2, 0, 2, 0, 1, 2, 1, 2]
