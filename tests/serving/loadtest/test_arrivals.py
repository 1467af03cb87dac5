from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from serving.loadtest.plan import arrival_times


def test_even_arrivals_have_equal_gaps() -> None:
    assert arrival_times("even", 4.0, 1.5, 0).tolist() == [0, 0.25, 0.5, 0.75, 1.0, 1.25]


def test_poisson_arrivals_have_exponential_gaps() -> None:
    due = arrival_times("poisson", 50.0, 200.0, seed=3)
    assert due[0] >= 0 and due[-1] < 200
    # The number is Poisson with mean 10,000: five standard deviations.
    assert abs(len(due) - 10_000) < 500
    assert scipy.stats.kstest(np.diff(due), scipy.stats.expon(scale=1 / 50).cdf).pvalue > 1e-3


@pytest.mark.parametrize("arrivals", ["poisson", "even"])
def test_a_seed_gives_the_same_schedule(arrivals: str) -> None:
    first, second = (arrival_times(arrivals, 20.0, 5.0, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (np.diff(first) >= 0).all()
    assert not np.array_equal(arrival_times("poisson", 20.0, 5.0, 7), first) or arrivals != "even"
