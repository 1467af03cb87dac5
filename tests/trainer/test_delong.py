from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from trainer.significance import delong_test


def synthetic(seed: int, samples: int = 250) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and the scores of 2 weaker and 3 stronger runs, with many ties."""
    random = np.random.default_rng(seed)
    labels = (random.random(samples) < 0.3).astype(int)
    weaker = np.round(random.random([2, samples]) + 0.3 * labels, 1)
    stronger = np.round(random.random([3, samples]) + 0.5 * labels, 1)
    return labels, weaker, stronger


def by_definition(labels: np.ndarray, *sides: np.ndarray) -> tuple[float, float]:
    """Difference and its standard error from the kernel of every pair, O(m n)."""
    kernels = []
    for scores in sides:
        run_aucs = []
        for run in scores:
            positive, negative = run[labels == 1][:, np.newaxis], run[labels == 0]
            run_aucs.append((positive > negative) + 0.5 * (positive == negative))
        kernels.append(np.mean(run_aucs, axis=0))
    kernel = kernels[1] - kernels[0]
    m, n = kernel.shape
    variance = kernel.mean(axis=1).var(ddof=1) / m + kernel.mean(axis=0).var(ddof=1) / n
    return kernel.mean(), math.sqrt(variance)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_definition_over_all_pairs(seed: int) -> None:
    labels, weaker, stronger = synthetic(seed)
    actual = delong_test(labels, weaker, stronger)
    difference, error = by_definition(labels, weaker, stronger)
    assert actual.difference == pytest.approx(difference, abs=1e-12)
    assert actual.standard_error == pytest.approx(error, abs=1e-12)
    assert actual.p_value == pytest.approx(2 * norm.sf(abs(difference / error)), rel=1e-9)
    low, high = norm.interval(0.95, difference, error)
    assert (actual.low, actual.high) == pytest.approx((low, high), abs=1e-12)


def test_the_difference_is_that_of_the_mean_aucs() -> None:
    labels, weaker, stronger = synthetic(7)
    means = [np.mean([roc_auc_score(labels, run) for run in side]) for side in (weaker, stronger)]
    actual = delong_test(labels, weaker, stronger)
    assert actual.difference == pytest.approx(means[1] - means[0], abs=1e-12)


def test_a_hand_computed_case() -> None:
    # Positives score 0.8 and 0.3, negatives 0.5 and 0.1; the other model ranks all of them right.
    labels = np.array([1, 1, 0, 0])
    actual = delong_test(labels, np.array([[0.8, 0.3, 0.5, 0.1]]), np.array([[0.9, 0.8, 0.2, 0.1]]))
    assert actual.difference == pytest.approx(0.25)
    # Differences of the components: positives 0 and 1/2, negatives 1/2 and 0; each variance 1/8.
    assert actual.standard_error == pytest.approx(math.sqrt(1 / 16 + 1 / 16))


def test_a_run_against_itself_and_swapped_sides() -> None:
    labels, weaker, stronger = synthetic(1)
    same = delong_test(labels, weaker, weaker)
    assert (same.difference, same.standard_error, same.p_value) == (0.0, 0.0, 1.0)
    there, back = delong_test(labels, weaker, stronger), delong_test(labels, stronger, weaker)
    assert (back.difference, back.low, back.high) == pytest.approx(
        (-there.difference, -there.high, -there.low)
    )
    assert back.p_value == there.p_value


def test_a_single_positive_sample_has_no_standard_error() -> None:
    labels = np.array([1, 0, 0, 0])
    actual = delong_test(labels, np.array([[0.1, 0.2, 0.3, 0.4]]), np.array([[0.9, 0.2, 0.3, 0.4]]))
    assert actual.difference == 1.0
    assert math.isnan(actual.standard_error) and math.isnan(actual.p_value)


def test_one_in_twenty_comparisons_of_equal_models_is_significant() -> None:
    random = np.random.default_rng(10)
    labels = np.repeat([1, 0], [60, 120])
    p_values = []
    for _ in range(800):
        taste = random.normal(size=180) + labels
        first, second = taste + random.normal(size=[2, 180])
        p_values.append(delong_test(labels, first[np.newaxis], second[np.newaxis]).p_value)
    # The deviation of a share of 800 is 0.0077.
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.02)
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.03)
