from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from configs.command_line import CommandError
from trainer.metrics import evaluate_scores, flat_metrics, grouped_auc, log_losses


def made_up_samples(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores with many ties, and users of 1 to about 20 samples, in mixed order."""
    generator = np.random.default_rng(seed)
    users = generator.geometric(0.15, size=400)
    labels = generator.integers(0, 2, size=400)
    scores = np.round(generator.random(400) + 0.3 * labels, 1) / 1.4
    return labels, scores, np.array([f"user{user}" for user in users], dtype=object)


def grouped_auc_by_loop(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> float:
    total, samples = 0.0, 0
    for user in set(users):
        own = users == user
        if len(set(labels[own])) == 2:
            total += own.sum() * roc_auc_score(labels[own], scores[own])
            samples += own.sum()
    return total / samples


@pytest.mark.parametrize("seed", range(5))
def test_grouped_auc_is_the_weighted_mean_of_the_users_aucs(seed: int) -> None:
    labels, scores, users = made_up_samples(seed)
    one_class = [user for user in set(users) if len(set(labels[users == user])) == 1]
    assert one_class
    assert len(set(scores)) < 50
    assert grouped_auc(labels, scores, users) == pytest.approx(
        grouped_auc_by_loop(labels, scores, users), abs=1e-12
    )


def test_grouped_auc_of_a_hand_computed_case() -> None:
    labels = np.array([1, 0, 0, 1, 1, 0, 1])
    scores = np.array([0.9, 0.5, 0.9, 0.2, 0.7, 0.1, 0.4])
    users = np.array(["a", "a", "a", "a", "b", "c", "c"])
    # a: pairs (0.9: 0.5 won, 0.9 tied), (0.2: both lost) -> 1.5 / 4; b: one class; c: 1.
    assert grouped_auc(labels, scores, users) == pytest.approx((4 * 0.375 + 2 * 1.0) / 6)


def test_grouped_auc_is_that_of_chance_when_no_user_has_both_classes() -> None:
    assert grouped_auc(np.array([1, 0]), np.array([0.1, 0.9]), np.array(["a", "b"])) == 0.5


def test_metrics_of_a_hand_computed_case() -> None:
    metrics = evaluate_scores(
        np.array([1, 0, 1, 0]), np.array([0.8, 0.8, 0.4, 0.2]), np.array(["a", "a", "b", "b"])
    )
    assert metrics == {
        "auc": pytest.approx(2.5 / 4),
        "logloss": pytest.approx(-np.log([0.8, 0.2, 0.4, 0.8]).mean()),
        "gauc": pytest.approx((0.5 + 1.0) / 2),
        "n": 4,
    }


def test_float32_scores_of_zero_and_one_give_a_finite_loss() -> None:
    metrics = evaluate_scores(
        np.array([1, 0, 1]), np.array([0.0, 1.0, 1.0], dtype=np.float32), np.array(["a"] * 3)
    )
    assert np.isfinite(metrics["logloss"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_are_those_of_scikit_learn_at_the_ends_too(dtype: type) -> None:
    tiny = np.finfo(np.float64).eps / 4
    scores = np.array([0.0, 1.0, tiny, 1e-30, 1 - 1e-7, 0.3, 0.0, 1.0], dtype)
    labels = np.array([1, 0, 1, 1, 0, 1, 0, 1])
    losses = log_losses(labels, scores)
    for number in range(len(labels)):
        one = slice(number, number + 1)
        expected = log_loss(labels[one], scores[one].astype(np.float64), labels=[0, 1])
        assert losses[number] == pytest.approx(expected, rel=1e-12, abs=1e-300)
    assert losses.mean() == pytest.approx(log_loss(labels, scores.astype(np.float64)), rel=1e-12)


@pytest.mark.parametrize("labels", [[], [1, 1], [0, 0]])
def test_samples_of_less_than_two_classes_are_refused(labels: list[int]) -> None:
    with pytest.raises(CommandError, match="both classes"):
        evaluate_scores(np.array(labels), np.full(len(labels), 0.5), np.array(["a"] * len(labels)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(CommandError, match="not a finite number"):
        evaluate_scores(np.array([1, 0]), np.array([bad, 0.5]), np.array(["a", "a"]))


def test_measured_numbers_are_told_from_counts_and_named_by_task() -> None:
    of_task = {"auc": 0.6, "logloss": 0.4, "n": 7}
    metrics = {"auc": 0.7, "n": 7, "lists": 3, "tasks": {"loved": of_task}}
    assert flat_metrics(metrics) == {"auc": 0.7, "loved_auc": 0.6, "loved_logloss": 0.4}
