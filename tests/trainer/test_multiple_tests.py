from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from trainer.significance import holm


def test_the_example_of_a_textbook() -> None:
    # Four tests: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, none below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_it_rejects_what_the_step_down_procedure_rejects() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        p_values = random.random(12) ** 3
        rejected = set()
        for step, place in enumerate(np.argsort(p_values)):
            if p_values[place] > 0.05 / (12 - step):
                break
            rejected.add(place)
        assert {n for n, p in enumerate(holm(p_values)) if p <= 0.05} == rejected


def test_tests_that_were_not_made_do_not_count() -> None:
    actual = holm([np.nan, 0.02, np.nan, 0.03])
    assert np.isnan(actual[0]) and np.isnan(actual[2])
    assert [actual[1], actual[3]] == pytest.approx([0.04, 0.04])
    assert holm([]) == []


def test_no_p_value_is_above_one() -> None:
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_holm_is_stricter_than_a_false_discovery_rate_and_milder_than_bonferroni() -> None:
    values = np.random.default_rng(3).uniform(size=20) ** 2
    adjusted = np.array(holm(values.tolist()))
    assert (adjusted >= false_discovery_control(values) - 1e-12).all()
    assert (adjusted <= np.minimum(values * 20, 1) + 1e-12).all()
