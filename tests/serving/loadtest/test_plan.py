from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from serving.client.connection import Tls
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
        tls=Tls("ca.pem", Path("client.pem"), Path("client.key")),
    )
    plan.write(tmp_path)
    found = Plan.read(tmp_path)
    assert found.requests == plan.requests
    assert found.servers == plan.servers
    assert found.targets == plan.targets
    assert found.tls == Tls("ca.pem", "client.pem", "client.key")
    dataclasses.replace(plan, tls=None).write(tmp_path)
    assert Plan.read(tmp_path).tls is None
    for phase, expected in zip(found.phases, phases, strict=True):
        np.testing.assert_array_equal(phase.due, expected.due)
        np.testing.assert_array_equal(phase.requests, expected.requests)
        assert phase.in_flight == expected.in_flight
        assert phase.timeout_seconds == expected.timeout_seconds
