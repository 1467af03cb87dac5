from __future__ import annotations

import socket
from pathlib import Path

import pytest

from serving.client import Tls
from serving.client.errors import ModelAddress
from serving.client.inputs import STRINGS_WITHOUT_PROFILE
from serving.loadtest.load_test import (
    LoadTest,
    RateMeasurement,
    Schedule,
    find_limit,
    is_this_machine,
)
from serving.loadtest.requests import synthetic_requests
from tests.serving.loadtest.stalling import Stalling, serving
from tests.serving.server.certificates import server_credentials, write_certificates


def load_test(target: str, schedule: Schedule, tls: Tls | None = None) -> LoadTest:
    source = synthetic_requests(users=10, items=20, count=3, seed=1)
    address = ModelAddress(target, "m")
    return LoadTest(address, STRINGS_WITHOUT_PROFILE, source, "rank", schedule, tls)


def even(seconds: float, warmup_seconds: float, timeout_seconds: float) -> Schedule:
    return Schedule(
        arrivals="even",
        seconds=seconds,
        warmup_seconds=warmup_seconds,
        in_flight=64,
        timeout_seconds=timeout_seconds,
        seed=1,
    )


def test_every_rate_is_measured_with_its_own_schedule() -> None:
    service = Stalling()
    schedule = even(0.5, 0.25, 5.0)
    with serving(service) as target:
        measures = load_test(target, schedule).measure(2, [20.0, 40.0])
    assert [measure.rate for measure in measures] == [20.0, 40.0]
    assert [len(measure.calls.due) for measure in measures] == [15, 30]
    assert [measure.summary.requests for measure in measures] == [10, 20]
    assert [measure.summary.versions for measure in measures] == [{"5": 10}, {"5": 20}]
    # All three distinct requests take turns.
    users = [request.inputs["user_id"].string_val[0] for request in service.requests]
    assert len(set(users)) >= 2 and users[:3] == users[3:6]


def test_an_encrypted_server_gets_the_certificates(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    schedule = even(0.5, 0.0, 5.0)
    tls = Tls(tmp_path / "authority.pem", tmp_path / "client.pem", tmp_path / "client.key")
    with serving(Stalling(), server_credentials(tmp_path)) as target:
        (measure,) = load_test(target, schedule, tls).measure(1, [20.0])
    assert (measure.summary.answered, measure.summary.failed) == (10, {})


def test_a_limit_is_exceeded_where_the_server_falls_behind() -> None:
    # One request at a time, 20 ms each. Request k is due at 10 k ms and cannot be answered before
    # 20 (k + 1) ms: the 99th of 100 takes at least 1,000 ms.
    service = Stalling(dict.fromkeys(range(1000), 0.02))
    schedule = even(1.0, 0.0, 30.0)
    told: list[RateMeasurement] = []
    with serving(service) as target:
        limit, measures = load_test(target, schedule).find_limit(2, 500.0, 400.0, told.append)
    # A p99 needs 100 requests, so that fewer a second are not tried.
    assert (limit.rate, limit.exceeded) == (0.0, 100.0)
    assert told == measures and {measure.rate for measure in measures} == {100.0}
    for measure in measures:
        assert measure.summary.latency_ms.p99 >= 998


def test_a_limit_that_every_rate_keeps_is_not_found() -> None:
    schedule = even(0.5, 0.0, 30.0)
    with serving(Stalling()) as target:
        limit, measures = load_test(target, schedule).find_limit(
            2, 60_000.0, 300.0, progress=lambda measure: None
        )
    assert (limit.rate, limit.exceeded) == (300.0, None)
    assert [measure.rate for measure in measures] == [200.0, 300.0]


def test_the_own_machine_is_known() -> None:
    assert is_this_machine("127.0.0.1", 8500)
    assert is_this_machine("localhost", 1)
    assert not is_this_machine("no-such-host.invalid", 1)
    assert is_this_machine(socket.gethostbyname("localhost"), 2)


@pytest.mark.parametrize("address", ["192.0.2.7", "203.0.113.9"])
def test_another_machine_is_another_machine(address: str) -> None:
    assert not is_this_machine(address, 8500)


@pytest.mark.parametrize("true_limit", [12.0, 37.0, 100.0, 777.0])
@pytest.mark.parametrize("first", [1.0, 50.0, 900.0])
def test_the_limit_is_found_within_the_precision(true_limit: float, first: float) -> None:
    actual = find_limit(lambda rate: rate <= true_limit, first, 1.0, 10_000.0, precision=0.1)
    assert actual.exceeded is not None
    assert actual.rate <= true_limit < actual.exceeded <= actual.rate * 1.1
    assert all(step.kept == (step.rate <= true_limit) for step in actual.steps)
    assert len(actual.steps) < 20


def test_a_server_that_keeps_every_rate_has_no_limit_found() -> None:
    actual = find_limit(lambda rate: True, 20.0, 1.0, 100.0)
    assert (actual.rate, actual.exceeded) == (100.0, None)
    assert [step.rate for step in actual.steps] == [20.0, 40.0, 80.0, 100.0]


def test_a_server_that_keeps_no_rate_ends_at_the_lowest() -> None:
    actual = find_limit(lambda rate: False, 40.0, 15.0, 100.0)
    assert (actual.rate, actual.exceeded) == (0.0, 15.0)
    assert [step.rate for step in actual.steps] == [40.0, 20.0, 15.0]


def test_the_first_rate_is_within_the_bounds() -> None:
    assert find_limit(lambda rate: False, 1.0, 15.0, 100.0).steps[0].rate == 15.0
    assert find_limit(lambda rate: True, 900.0, 15.0, 100.0).steps[0].rate == 100.0
