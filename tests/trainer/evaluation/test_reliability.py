from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from trainer.evaluation.metric_sums import (
    ReliabilityBin,
    ReliabilityCurve,
    ScoreSums,
    calibration_error,
)


def curve_of(labels: np.ndarray, scores: np.ndarray, bins: int, cuts: list[int]) -> list:
    order = np.argsort(scores, kind="stable")
    labels, scores = labels[order], scores[order]
    curve, sums = ReliabilityCurve(len(labels), bins), ScoreSums(1)
    parts = zip(np.split(labels, cuts), np.split(scores, cuts), strict=True)
    for some_labels, some_scores in parts:
        curve.add(sums.add(np.zeros(len(some_labels), int), some_labels, some_scores))
    curve.add(sums.finish())
    return curve.bins()


@pytest.mark.parametrize("cuts", [[], [3, 99, 100, 101]])
def test_bins_of_distinct_scores_are_scikit_learns_quantile_bins(cuts: list[int]) -> None:
    random = np.random.default_rng(1)
    scores = random.permutation(np.linspace(0.01, 0.99, 400))
    labels = (random.random(400) < scores**2).astype(int)
    bins = curve_of(labels, scores, 20, cuts)
    shares, means = calibration_curve(labels, scores, n_bins=20, strategy="quantile")
    assert [found.share_positive for found in bins] == pytest.approx(list(shares))
    assert [found.mean_score for found in bins] == pytest.approx(list(means))
    assert {found.n for found in bins} == {20}
    assert all(
        before.lowest <= before.mean_score <= before.highest < after.lowest
        for before, after in zip(bins, bins[1:], strict=False)
    )
    expected = np.mean(np.abs(shares - means))
    assert calibration_error(bins) == pytest.approx(expected)


def test_equal_scores_are_never_parted() -> None:
    scores = np.array([0.1] * 5 + [0.2] * 4 + [0.7])
    labels = np.array([0, 0, 0, 0, 1, 1, 0, 1, 0, 1])
    bins = curve_of(labels, scores, 5, [2, 7])
    # Places 0-4 are in the bin of place 0, 5-8 in that of place 5, and 9 in the last.
    assert [(found.lowest, found.n) for found in bins] == [(0.1, 5), (0.2, 4), (0.7, 1)]
    assert [found.share_positive for found in bins] == [0.2, 0.5, 1.0]


def test_the_error_is_the_mean_distance_weighted_by_samples() -> None:
    bins = [ReliabilityBin(0, 1, 0.3, 0.5, 30), ReliabilityBin(0, 1, 0.9, 0.8, 10)]
    assert calibration_error(bins) == pytest.approx((30 * 0.2 + 10 * 0.1) / 40)
