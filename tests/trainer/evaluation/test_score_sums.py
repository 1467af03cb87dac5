from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from trainer.evaluation.metric_sums import ScoreSums, TieGroups

GROUPS = 4


def made_up(seed: int, digits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups, labels and ascending scores; group 3 has one class only."""
    random = np.random.default_rng(seed)
    groups = random.integers(0, GROUPS, 800)
    labels = (random.random(800) < 0.4).astype(np.float32)
    labels[groups == 3] = 1
    scores = np.sort(np.round(0.1 + 0.7 * random.random(800), digits)).astype(np.float32)
    return groups, labels, scores


def summed(
    groups: np.ndarray, labels: np.ndarray, scores: np.ndarray, cuts: list[int]
) -> tuple[ScoreSums, list[TieGroups]]:
    sums = ScoreSums(GROUPS)
    complete = [
        sums.add(*part)
        for part in zip(
            *(np.split(values, cuts) for values in (groups, labels, scores)), strict=True
        )
    ]
    return sums, [*complete, sums.finish()]


@pytest.mark.parametrize("digits", [1, 2, 7])
@pytest.mark.parametrize("cuts", [[], [400], [1, 2, 3, 17, 18, 500], [0, 800]])
def test_groups_have_the_metrics_of_scikit_learn_however_batches_are_cut(
    digits: int, cuts: list[int]
) -> None:
    groups, labels, scores = made_up(1, digits)
    sums, _ = summed(groups, labels, scores, cuts)
    aucs = sums.auc()
    for group in range(GROUPS):
        own = groups == group
        expected = scores[own].astype(float)
        if group == 3:
            assert np.isnan(aucs[group])
        else:
            assert aucs[group] == pytest.approx(roc_auc_score(labels[own], expected), abs=1e-12)
            loss = sums.loss_sum[group] / sums.samples[group]
            assert loss == pytest.approx(log_loss(labels[own], expected), abs=1e-12)
        assert sums.samples[group] == own.sum()
        assert sums.positives[group] == labels[own].sum()
        assert sums.score_sum[group] == pytest.approx(expected.sum())


def test_groups_of_equal_scores_are_complete_and_come_once() -> None:
    groups, labels, scores = made_up(2, digits=1)
    _, complete = summed(groups, labels, scores, [100, 101, 650])
    found = {
        (group, score): (positives, negatives)
        for ties in complete
        for group, score, positives, negatives in zip(
            ties.groups, ties.scores, ties.positives, ties.negatives, strict=True
        )
    }
    assert len(found) == sum(len(ties.groups) for ties in complete)
    for (group, score), (positives, negatives) in found.items():
        own = (groups == group) & (scores == score)
        assert (positives, negatives) == (labels[own].sum(), (1 - labels[own]).sum())
    assert sum(map(sum, found.values())) == len(labels)


def test_one_score_for_all_is_chance_and_costs_no_memory() -> None:
    sums = ScoreSums(1)
    for _ in range(50):
        ties = sums.add(np.zeros(100, int), np.arange(100) % 3 == 0, np.full(100, 0.5))
        assert len(ties.groups) == 0
    assert len(sums.finish().groups) == 1
    assert sums.auc().tolist() == [0.5]


def test_pairs_are_counted_exactly_beyond_the_precision_of_floats() -> None:
    # Positives over all negatives but one, which is over all.
    positives, negatives = 2**29 + 1, 2**29 + 4
    sums = ScoreSums(1)
    sums.samples[:], sums.positives[:] = positives + negatives, positives
    for score, p, n in ((0.1, 0, negatives - 1), (0.5, positives, 0), (0.9, 0, 1)):
        counts = np.array([p]), np.array([n])
        sums._count(TieGroups(np.zeros(1, np.int64), np.array([score]), *counts))
    doubled = 2 * positives * (negatives - 1)
    assert int(float(doubled)) != doubled == int(sums._doubled_pairs[0])
    assert sums.auc()[0] == doubled / (2 * positives * negatives)


def test_groups_without_samples_have_no_value() -> None:
    sums = ScoreSums(2)
    sums.add(np.zeros(0, int), np.zeros(0), np.zeros(0))
    assert len(sums.finish().groups) == 0
    assert np.isnan(sums.auc()).all() and sums.samples.tolist() == [0, 0]
