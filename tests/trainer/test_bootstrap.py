from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from scipy.stats import false_discovery_control
from sklearn.metrics import roc_auc_score

from trainer.metric_sums import ScoreSums
from trainer.significance import (
    Difference,
    _aucs_by_samples,
    _aucs_by_users,
    bootstrap_auc_difference,
    bootstrap_mean_difference,
    holm,
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


def auc_forms(
    labels: np.ndarray, scores: np.ndarray, index: np.ndarray
) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Both of them, of one run: users' draws -> AUCs."""
    sides = np.empty([0, len(labels)]), scores[np.newaxis]
    return [
        form(labels, sides, index, USERS).difference for form in (_aucs_by_samples, _aucs_by_users)
    ]


def test_auc_of_everybody_once_is_the_plain_auc_with_ties(samples) -> None:
    labels, users, weak, _ = samples
    assert len(set(weak[0])) < 20
    for auc in auc_forms(labels, weak[0], np.unique(users, return_inverse=True)[1]):
        expected = pytest.approx([roc_auc_score(labels, weak[0])], abs=1e-12)
        assert auc(np.ones([1, USERS])) == expected
        # `compare` says what `evaluate` says, to the last bit.
        assert auc(np.ones([1, USERS])) == ScoreSums.of_part(labels, weak[0]).pairs.auc()


# Blocks of the form by users are of 256 samples: none, one and many in a block, few and many ties.
@pytest.mark.parametrize("decimals", [0, 1, 2, 3, 9])
@pytest.mark.parametrize("count", [40, 256, 5000])
def test_both_forms_are_scikit_learns_weighted_auc(decimals: int, count: int) -> None:
    generator = np.random.default_rng(count + decimals)
    labels, users = generator.integers(0, 2, count), generator.integers(0, USERS, count)
    scores = np.round(generator.random(count), decimals)
    draws = generator.integers(0, 4, [3, USERS]).astype(np.float64)
    of_samples, of_users = (auc(draws) for auc in auc_forms(labels, scores, users))
    expected = [roc_auc_score(labels, scores, sample_weight=row[users]) for row in draws]
    assert of_samples == pytest.approx(expected, abs=1e-12)
    assert of_users.tolist() == of_samples.tolist()


def test_a_resample_of_one_class_has_no_auc() -> None:
    draws = np.ones([2, USERS])
    draws[0, 1] = 0
    for auc in auc_forms(np.array([1, 0, 1]), np.array([0.1, 0.2, 0.3]), np.array([0, 1, 2])):
        assert np.isnan(auc(draws)).tolist() == [True, False]


def test_the_difference_is_that_of_the_mean_aucs(samples) -> None:
    labels, users, weak, strong = samples
    actual = bootstrap_auc_difference(labels, users, weak, strong, resamples=20)
    baseline = np.mean([roc_auc_score(labels, scores) for scores in weak])
    candidate = np.mean([roc_auc_score(labels, scores) for scores in strong])
    assert actual.baseline == pytest.approx(baseline, abs=1e-12)
    assert actual.candidate == pytest.approx(candidate, abs=1e-12)
    assert actual.difference == pytest.approx(candidate - baseline, abs=1e-12)
    assert actual.relative_lift == pytest.approx((candidate - baseline) / baseline, abs=1e-12)


def test_the_interval_is_that_of_resamples_made_by_repeating_rows(samples) -> None:
    labels, users, weak, strong = samples
    # More resamples than one chunk holds, so that the seam between chunks is part of the test.
    resamples = 150
    weak, strong = weak[:1], strong[:1]
    actual = bootstrap_auc_difference(labels, users, weak, strong, resamples=resamples, seed=5)
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
    assert actual.low == pytest.approx(low, abs=1e-12)
    assert actual.high == pytest.approx(high, abs=1e-12)


@pytest.mark.parametrize("by_users", [True, False])
def test_sides_are_the_means_of_their_runs(samples, by_users: bool) -> None:
    labels, names, weak, strong = samples
    users = np.unique(names, return_inverse=True)[1]
    weak = np.concatenate([weak, weak[:1] + 0.1 * strong[:1]])
    form = _aucs_by_users if by_users else _aucs_by_samples
    measured = form(labels, (weak, strong), users, USERS)
    draws = np.random.default_rng(7).integers(0, 4, [5, USERS]).astype(np.float64)
    by_side = [
        [
            [roc_auc_score(labels, scores, sample_weight=draw[users]) for draw in draws]
            for scores in side
        ]
        for side in (weak, strong)
    ]
    expected = np.mean(by_side[1], axis=0) - np.mean(by_side[0], axis=0)
    assert measured.difference(draws) == pytest.approx(expected, abs=1e-12)
    for actual, side in zip(measured.by_run, (weak, strong), strict=True):
        expected = [roc_auc_score(labels, scores) for scores in side]
        assert actual == pytest.approx(expected, abs=1e-12)


def test_both_forms_have_the_same_interval(samples, monkeypatch) -> None:
    by_users = bootstrap_auc_difference(*samples, resamples=100, seed=2)
    monkeypatch.setattr("trainer.significance._MOST_PAIRS", 0)
    by_samples = bootstrap_auc_difference(*samples, resamples=100, seed=2)
    for name in ("baseline", "candidate", "difference", "low", "high", "p_value", "seed_error"):
        expected = pytest.approx(getattr(by_samples, name), abs=1e-12)
        assert getattr(by_users, name) == expected


def test_identical_predictions_differ_by_exactly_nothing(samples) -> None:
    labels, users, weak, _ = samples
    for side, paired_runs in ((weak[:1], False), (weak, True)):
        actual = bootstrap_auc_difference(
            labels, users, side, side, resamples=30, paired_runs=paired_runs
        )
        assert (actual.difference, actual.low, actual.high) == (0.0, 0.0, 0.0)


def test_the_interval_depends_on_the_seed_alone(samples) -> None:
    first, again, other = (
        bootstrap_auc_difference(*samples, resamples=40, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)
    assert first.difference == other.difference


def test_the_interval_does_not_depend_on_how_many_are_drawn_at_once(samples, monkeypatch) -> None:
    at_once = bootstrap_auc_difference(*samples, resamples=150, seed=3)
    monkeypatch.setattr("trainer.significance._DRAWS_AT_ONCE", 7 * USERS)
    in_parts = bootstrap_auc_difference(*samples, resamples=150, seed=3)
    assert (in_parts.low, in_parts.high) == pytest.approx((at_once.low, at_once.high), abs=1e-12)


def test_the_interval_turns_around_with_the_sides(samples) -> None:
    labels, users, weak, strong = samples
    weak, strong = weak[:1], strong[:1]
    there = bootstrap_auc_difference(labels, users, weak, strong, resamples=40)
    back = bootstrap_auc_difference(labels, users, strong, weak, resamples=40)
    assert there.low > 0
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-12)


def test_users_are_resampled_as_a_whole(samples) -> None:
    labels, _, weak, strong = samples
    alike = np.repeat([f"user {number}" for number in range(12)], SAMPLES)
    weak, strong = np.tile(weak[:1], 12), np.tile(strong[:1], 12)
    actual = bootstrap_auc_difference(np.tile(labels, 12), alike, weak, strong, resamples=20)
    assert actual.low == pytest.approx(actual.difference, abs=1e-12)
    assert actual.high == pytest.approx(actual.difference, abs=1e-12)


@pytest.mark.parametrize("users", [1, 2, 9, 10])
def test_a_handful_of_users_says_nothing_of_others(samples, users: int) -> None:
    labels, _, weak, strong = samples
    names = np.array([f"user {number % users}" for number in range(SAMPLES)])
    for actual in (
        bootstrap_auc_difference(labels, names, weak, strong, resamples=20),
        bootstrap_mean_difference(names, weak, strong, resamples=20),
    ):
        assert actual.difference == pytest.approx(actual.candidate - actual.baseline)
        bounds = (actual.low, actual.high, actual.p_value)
        assert np.isnan(bounds).tolist() == [users < 10] * 3


def test_means_are_compared_by_resamples_made_by_repeating_users(samples) -> None:
    _, users, weak, strong = samples
    weak, strong = weak[:1], strong[:1]
    actual = bootstrap_mean_difference(users, weak, strong, resamples=300, seed=5)
    assert actual.baseline == pytest.approx(weak.mean())
    assert actual.candidate == pytest.approx(strong.mean())
    assert actual.difference == pytest.approx(strong.mean() - weak.mean())
    gain = (strong - weak).mean(axis=0)
    generator = np.random.default_rng(8)
    names = sorted(set(users))
    resampled = []
    for _ in range(2000):
        drawn = generator.choice(names, size=len(names))
        resampled.append(np.concatenate([gain[users == user] for user in drawn]).mean())
    low, high = np.percentile(resampled, [2.5, 97.5])
    width = high - low
    assert actual.low == pytest.approx(low, abs=0.15 * width)
    assert actual.high == pytest.approx(high, abs=0.15 * width)


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
    actual = bootstrap_auc_difference(labels, users, scores, 1 - scores, resamples=1, seed=3)
    assert actual.difference == 1.0
    assert np.isnan([actual.low, actual.high, actual.p_value]).all()


def synthetic_arms(
    generator: np.random.Generator, runs: int, seeds_deviation: float, effect: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, and the metric [runs, users] of two arms: users differ, seeds move a whole run."""
    users = 60
    level = generator.normal(0.7, 0.1, users)
    baseline, candidate = (
        level
        + generator.normal(0.0, seeds_deviation, (runs, 1))
        + generator.normal(0.0, 0.02, (1, users))
        for _ in range(2)
    )
    return np.arange(users), baseline, candidate + effect


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_arms_that_differ_by_their_seeds_only_are_rarely_significant(runs: int) -> None:
    generator = np.random.default_rng(runs)
    data_sets, level = 400, 0.05
    false_marks = users_only = 0
    for number in range(data_sets):
        arms = synthetic_arms(generator, runs, seeds_deviation=0.02, effect=0.0)
        actual = bootstrap_mean_difference(*arms, resamples=199, seed=number)
        false_marks += actual.p_value < level
        means = (arms[0], *(side.mean(axis=0, keepdims=True) for side in arms[1:]))
        users_only += bootstrap_mean_difference(*means, resamples=199, seed=number).p_value < level
    # Two standard errors of a share of 400 are 0.022.
    assert false_marks / data_sets < level + 0.022
    # What the choice of users alone would call significant.
    assert users_only / data_sets > 0.4


def test_a_real_effect_is_significant_with_three_seeds() -> None:
    generator = np.random.default_rng(11)
    actual = [
        bootstrap_mean_difference(
            *synthetic_arms(generator, 3, seeds_deviation=0.002, effect=0.02), resamples=399, seed=n
        )
        for n in range(50)
    ]
    assert np.mean([one.p_value < 0.05 for one in actual]) > 0.9


def test_the_error_of_the_seeds_is_that_of_welchs_test() -> None:
    baseline, candidate = np.array([0.70, 0.72, 0.71]), np.array([0.75, 0.71])
    everywhere = np.ones(30)
    actual = bootstrap_mean_difference(
        np.arange(30),
        baseline[:, np.newaxis] * everywhere,
        candidate[:, np.newaxis] * everywhere,
        resamples=40_000,
    )
    welch = scipy.stats.ttest_ind(candidate, baseline, equal_var=False)
    # Sample variances 1e-4 of three and 8e-4 of two.
    assert actual.seed_error == pytest.approx(np.sqrt(1e-4 / 3 + 8e-4 / 2))
    assert actual.difference == pytest.approx(0.02)
    assert actual.p_value == pytest.approx(welch.pvalue, abs=0.01)
    interval = welch.confidence_interval(0.95)
    assert (actual.low, actual.high) == pytest.approx(
        (interval.low, interval.high), abs=0.06 * (interval.high - interval.low)
    )


def test_pairs_of_one_training_are_judged_by_their_differences() -> None:
    baseline = np.array([[0.5], [0.7], [0.9]]) * np.ones(20)
    candidate = baseline + np.array([[0.010], [0.012], [0.011]])
    apart, together = (
        bootstrap_mean_difference(np.arange(20), baseline, candidate, 50, 0, paired_runs)
        for paired_runs in (False, True)
    )
    assert apart.seed_error == pytest.approx(np.sqrt(2 * 0.04 / 3), rel=0.02)
    assert together.seed_error == pytest.approx(0.001 / np.sqrt(3))
    with pytest.raises(ValueError, match="1 and 3 runs are no pairs"):
        bootstrap_mean_difference(np.arange(20), baseline[:1], candidate, 50, 0, paired_runs=True)


def test_two_seeds_of_one_model_say_nothing_about_other_seeds(samples) -> None:
    labels, users, weak, strong = samples
    assert not bootstrap_auc_difference(labels, users, weak[:1], weak[1:], 20).covers_seeds
    assert not bootstrap_auc_difference(labels, users, weak, strong[:1], 20).covers_seeds
    assert bootstrap_auc_difference(labels, users, weak, strong, 20).covers_seeds


def test_without_a_baseline_the_difference_is_the_candidate(samples) -> None:
    labels, users, _, strong = samples
    actual = bootstrap_auc_difference(labels, users, strong[:0], strong, resamples=40)
    assert (actual.baseline, actual.difference) == (0.0, actual.candidate)
    assert actual.low < actual.candidate < actual.high
    assert actual.covers_seeds


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
