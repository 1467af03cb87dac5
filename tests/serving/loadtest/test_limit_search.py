from __future__ import annotations

import pytest

from serving.loadtest.load_test import find_limit


@pytest.mark.parametrize("true_limit", [12.0, 37.0, 100.0, 777.0])
@pytest.mark.parametrize("first", [1.0, 50.0, 900.0])
def test_the_limit_is_found_within_the_precision(true_limit: float, first: float) -> None:
    found = find_limit(lambda rate: rate <= true_limit, first, 1.0, 10_000.0, precision=0.1)
    assert found.exceeded is not None
    assert found.rate <= true_limit < found.exceeded <= found.rate * 1.1
    assert all(step.kept == (step.rate <= true_limit) for step in found.steps)
    assert len(found.steps) < 20


def test_a_server_that_keeps_every_rate_has_no_limit_found() -> None:
    found = find_limit(lambda rate: True, 20.0, 1.0, 100.0)
    assert (found.rate, found.exceeded) == (100.0, None)
    assert [step.rate for step in found.steps] == [20.0, 40.0, 80.0, 100.0]


def test_a_server_that_keeps_no_rate_ends_at_the_lowest() -> None:
    found = find_limit(lambda rate: False, 40.0, 15.0, 100.0)
    assert (found.rate, found.exceeded) == (0.0, 15.0)
    assert [step.rate for step in found.steps] == [40.0, 20.0, 15.0]


def test_the_first_rate_is_within_the_bounds() -> None:
    assert find_limit(lambda rate: False, 1.0, 15.0, 100.0).steps[0].rate == 15.0
    assert find_limit(lambda rate: True, 900.0, 15.0, 100.0).steps[0].rate == 100.0
