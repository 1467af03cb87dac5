"""Paired bootstrap over users of the difference between two models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_CHUNK = 64


@dataclass(frozen=True)
class Difference:
    """What two models differ by on the same examples, in one metric.

    Attributes:
      baseline: mean over the baseline's seeds.
      candidate: mean over the candidate's seeds.
      difference: candidate less baseline.
      low: lower end of the 95 % interval of the difference.
      high: upper end.
      p_value: two-sided, of the same resamples; see `two_sided_p`. NaN, as the interval, where
        no resample has samples of both classes.
    """

    baseline: float
    candidate: float
    difference: float
    low: float
    high: float
    p_value: float = math.nan

    @property
    def relative_lift(self) -> float:
        """(candidate - baseline) / baseline; NaN when the baseline is 0."""
        return self.difference / self.baseline if self.baseline else math.nan


def bootstrap_auc_difference(
    labels: np.ndarray,
    user_ids: np.ndarray,
    baseline_scores: np.ndarray,
    candidate_scores: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """Difference of AUCs: users are resampled with replacement, and all runs score each resample.

    The AUC of a side is the mean over its runs (seeds). The interval covers the choice of test
    users; that of training seeds is averaged, not resampled.

    Args:
      labels: [n], 0 or 1.
      user_ids: [n].
      baseline_scores: [runs, n].
      candidate_scores: [runs, n].
      resamples: number of resamples.
      seed: of the resampling.

    Returns:
      The difference with its percentile interval.
    """
    baseline, candidate = (
        [_Ranked(labels, scores).auc for scores in side]
        for side in (baseline_scores, candidate_scores)
    )
    return _bootstrap(baseline, candidate, user_ids, resamples, seed)


def bootstrap_mean_difference(
    user_ids: np.ndarray,
    baseline_values: np.ndarray,
    candidate_values: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """Difference of means over examples, for example of the lists' NDCG; see the AUC's.

    Args:
      user_ids: [n].
      baseline_values: [runs, n], the metric of every example.
      candidate_values: [runs, n].
      resamples: number of resamples.
      seed: of the resampling.
    """
    baseline, candidate = (
        [_mean_of(values) for values in side] for side in (baseline_values, candidate_values)
    )
    return _bootstrap(baseline, candidate, user_ids, resamples, seed)


_Metric = Callable[[np.ndarray], np.ndarray]
"""Weights of the examples [resamples, n] -> the metric under them [resamples]."""


def _bootstrap(
    baseline_runs: Sequence[_Metric],
    candidate_runs: Sequence[_Metric],
    user_ids: np.ndarray,
    resamples: int,
    seed: int,
) -> Difference:
    users, index = np.unique(user_ids, return_inverse=True)
    generator = np.random.default_rng(seed)
    sides = (baseline_runs, candidate_runs)
    ones = np.ones([1, len(user_ids)])
    baseline, candidate = (float(np.mean([run(ones)[0] for run in side])) for side in sides)
    differences = []
    for start in range(0, resamples, _CHUNK):
        count = min(_CHUNK, resamples - start)
        draws = generator.multinomial(len(users), np.full(len(users), 1 / len(users)), size=count)
        weights = draws[:, index].astype(np.float64)
        means = [np.mean([run(weights) for run in side], axis=0) for side in sides]
        differences.append(means[1] - means[0])
    resampled = np.concatenate(differences)
    known = resampled[~np.isnan(resampled)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (math.nan, math.nan)
    return Difference(
        baseline,
        candidate,
        candidate - baseline,
        float(low),
        float(high),
        two_sided_p(known),
    )


def two_sided_p(differences: np.ndarray) -> float:
    """How easily resamples fall on the other side of 0: twice the smaller share, at most 1.

    p = 2 min((1 + #{d <= 0}) / (B + 1), (1 + #{d >= 0}) / (B + 1)), the level at which the
    percentile interval begins to cover 0; never 0, since B resamples cannot tell less than
    2 / (B + 1). Davison and Hinkley, "Bootstrap Methods and Their Application" (1997), chapter 4.

    Args:
      differences: [B], of resamples in which the metric has a value.

    Returns:
      The p-value; NaN without any resample.
    """
    if not len(differences):
        return math.nan
    other_sides = np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0)
    return min(1.0, 2 * (1 + min(other_sides)) / (1 + len(differences)))


def _mean_of(values: np.ndarray) -> _Metric:
    return lambda weights: weights @ values / weights.sum(axis=1)


class _Ranked:
    """Scores sorted once, so that the AUC under any sample weights is a few sums."""

    def __init__(self, labels: np.ndarray, scores: np.ndarray):
        self._order = np.argsort(scores, kind="stable")
        ordered = scores[self._order]
        self._tie_starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self._positive = labels[self._order].astype(np.float64)

    def auc(self, weights: np.ndarray) -> np.ndarray:
        """AUC under weights [resamples, n], ties half -> [resamples]; NaN with one class only."""
        ordered = weights[:, self._order]
        positives = np.add.reduceat(ordered * self._positive, self._tie_starts, axis=1)
        negatives = np.add.reduceat(ordered * (1 - self._positive), self._tie_starts, axis=1)
        below = np.cumsum(negatives, axis=1) - negatives
        pairs = (positives * (below + negatives / 2)).sum(axis=1)
        possible = positives.sum(axis=1) * negatives.sum(axis=1)
        return np.divide(pairs, possible, out=np.full(len(pairs), np.nan), where=possible > 0)
