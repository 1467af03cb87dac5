from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from trainer.bootstrap import (
    Difference,
    _Ranked,
    bootstrap_auc_difference,
    bootstrap_mean_difference,
    two_sided_p,
)

SAMPLES = 300
USERS = 25


@pytest.fixture
def samples() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, user ids, and the scores [2 runs, n] of a weaker and a stronger model, with ties."""
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 2, size=SAMPLES)
    users = np.array([f"user{n}" for n in generator.integers(USERS, size=SAMPLES)], dtype=object)
    weak = np.round(0.5 * labels + generator.random((2, SAMPLES)), 1)
    strong = np.round(0.9 * labels + generator.random((2, SAMPLES)), 1)
    return labels, users, weak, strong


def test_auc_under_equal_weights_is_the_plain_auc_with_ties(samples) -> None:
    labels, _, weak, _ = samples
    assert len(set(weak[0])) < 20
    found = _Ranked(labels, weak[0]).auc(np.ones([1, SAMPLES]))
    assert found == pytest.approx([roc_auc_score(labels, weak[0])], abs=1e-12)


def test_weighted_aucs_are_those_of_scikit_learn(samples) -> None:
    labels, _, weak, _ = samples
    generator = np.random.default_rng(4)
    weights = np.stack([generator.integers(0, 4, SAMPLES), generator.random(SAMPLES)])
    found = _Ranked(labels, weak[0]).auc(weights.astype(np.float64))
    expected = [roc_auc_score(labels, weak[0], sample_weight=row) for row in weights]
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_resample_of_one_class_has_no_auc() -> None:
    ranked = _Ranked(np.array([1, 0, 1]), np.array([0.1, 0.2, 0.3]))
    assert np.isnan(ranked.auc(np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]))).tolist() == [
        True,
        False,
    ]


def test_the_difference_is_that_of_the_mean_aucs(samples) -> None:
    labels, users, weak, strong = samples
    found = bootstrap_auc_difference(labels, users, weak, strong, resamples=20)
    baseline = np.mean([roc_auc_score(labels, scores) for scores in weak])
    candidate = np.mean([roc_auc_score(labels, scores) for scores in strong])
    assert found.baseline == pytest.approx(baseline, abs=1e-12)
    assert found.candidate == pytest.approx(candidate, abs=1e-12)
    assert found.difference == pytest.approx(candidate - baseline, abs=1e-12)
    assert found.relative_lift == pytest.approx((candidate - baseline) / baseline, abs=1e-12)


def test_the_interval_is_that_of_resamples_made_by_repeating_rows(samples) -> None:
    labels, users, weak, strong = samples
    # More resamples than one chunk holds, so that the seam between chunks is part of the test.
    resamples = 150
    found = bootstrap_auc_difference(labels, users, weak, strong, resamples=resamples, seed=5)
    names = np.unique(users)
    generator = np.random.default_rng(5)
    differences = []
    for _ in range(resamples):
        times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)))
        rows = np.concatenate(
            [
                np.tile(np.flatnonzero(users == name), count)
                for name, count in zip(names, times, strict=True)
            ]
        )
        aucs = [
            np.mean([roc_auc_score(labels[rows], scores[rows]) for scores in side])
            for side in (weak, strong)
        ]
        differences.append(aucs[1] - aucs[0])
    low, high = np.percentile(differences, [2.5, 97.5])
    assert found.low == pytest.approx(low, abs=1e-12)
    assert found.high == pytest.approx(high, abs=1e-12)


def test_identical_predictions_differ_by_exactly_nothing(samples) -> None:
    labels, users, weak, _ = samples
    found = bootstrap_auc_difference(labels, users, weak, weak, resamples=30)
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)


def test_the_interval_depends_on_the_seed_alone(samples) -> None:
    first, again, other = (
        bootstrap_auc_difference(*samples, resamples=40, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)
    assert first.difference == other.difference


def test_the_interval_turns_around_with_the_sides(samples) -> None:
    labels, users, weak, strong = samples
    there = bootstrap_auc_difference(labels, users, weak, strong, resamples=40)
    back = bootstrap_auc_difference(labels, users, strong, weak, resamples=40)
    assert there.low > 0
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-12)


def test_users_are_resampled_as_a_whole(samples) -> None:
    labels, _, weak, strong = samples
    everybody_is_one = np.full(SAMPLES, "only user", dtype=object)
    found = bootstrap_auc_difference(labels, everybody_is_one, weak, strong, resamples=20)
    assert found.low == pytest.approx(found.difference, abs=1e-12)
    assert found.high == pytest.approx(found.difference, abs=1e-12)


def test_relative_lift_is_relative_to_the_baseline() -> None:
    assert Difference(0.8, 0.76, -0.04, -0.05, -0.03).relative_lift == pytest.approx(-0.05)


def test_means_are_compared_by_resamples_made_by_repeating_users(samples) -> None:
    _, users, weak, strong = samples
    found = bootstrap_mean_difference(users, weak, strong, resamples=300, seed=5)
    assert found.baseline == pytest.approx(weak.mean())
    assert found.candidate == pytest.approx(strong.mean())
    assert found.difference == pytest.approx(strong.mean() - weak.mean())
    gain = (strong - weak).mean(axis=0)
    generator = np.random.default_rng(8)
    names = sorted(set(users))
    resampled = []
    for _ in range(2000):
        drawn = generator.choice(names, size=len(names))
        resampled.append(np.concatenate([gain[users == user] for user in drawn]).mean())
    low, high = np.percentile(resampled, [2.5, 97.5])
    width = high - low
    assert found.low == pytest.approx(low, abs=0.15 * width)
    assert found.high == pytest.approx(high, abs=0.15 * width)


def test_the_lift_over_a_baseline_of_zero_is_not_a_number() -> None:
    assert np.isnan(Difference(0.0, 0.1, 0.1, 0.05, 0.15).relative_lift)


@pytest.mark.parametrize(
    ("differences", "p_value"),
    [
        ([0.1, 0.2, 0.3], 2 * 1 / 4),
        ([-0.1, 0.2, 0.3, 0.4], 2 * 2 / 5),
        ([-0.1, 0.2], 1.0),
        ([0.0, 0.0, 0.0], 1.0),
        ([-1.0] * 99, 2 * 1 / 100),
    ],
)
def test_a_p_value_is_twice_the_share_on_the_other_side(
    differences: list[float], p_value: float
) -> None:
    assert two_sided_p(np.array(differences)) == pytest.approx(p_value)
    assert two_sided_p(-np.array(differences)) == pytest.approx(p_value)


def test_the_p_value_says_when_the_interval_leaves_zero(samples) -> None:
    labels, users, weak, strong = samples
    clear = bootstrap_auc_difference(labels, users, weak, strong, resamples=200)
    assert clear.low > 0 and clear.p_value < 0.05
    again = bootstrap_auc_difference(labels, users, weak[:1], weak[1:], resamples=200)
    assert (again.low <= 0 <= again.high) == (again.p_value > 0.05)
    same = bootstrap_auc_difference(labels, users, weak, weak, resamples=20)
    assert same.p_value == 1.0


def test_without_a_resample_of_both_classes_there_is_no_interval() -> None:
    labels, users = np.array([1, 0]), np.array(["a", "b"])
    scores = np.array([[0.2, 0.7]])
    # The one resample of two users, with seed 3, takes the second one twice.
    found = bootstrap_auc_difference(labels, users, scores, 1 - scores, resamples=1, seed=3)
    assert found.difference == 1.0
    assert np.isnan([found.low, found.high, found.p_value]).all()
