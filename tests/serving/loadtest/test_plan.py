from __future__ import annotations

from pathlib import Path

import numpy as np

from serving.loadtest.plan import Phase, Plan


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    phases = [
        Phase(np.array([0.0, 0.5]), np.array([2, 0]), 3, 1.5),
        Phase(np.array([0.25]), np.array([1]), 1, 2.0),
    ]
    plan = Plan(
        targets=["a:1", "b:2"],
        requests=[b"first", b"", b"\x00third"],
        servers=[0, 1, 1],
        phases=phases,
        encrypted=True,
        root_certificates="ca.pem",
    )
    plan.write(tmp_path)
    found = Plan.read(tmp_path)
    assert found.requests == plan.requests
    assert found.servers == plan.servers
    assert found.targets == plan.targets
    assert (found.encrypted, found.root_certificates, found.client_key) == (True, "ca.pem", None)
    for phase, expected in zip(found.phases, phases, strict=True):
        np.testing.assert_array_equal(phase.due, expected.due)
        np.testing.assert_array_equal(phase.requests, expected.requests)
        assert phase.in_flight == expected.in_flight
        assert phase.timeout_seconds == expected.timeout_seconds
