"""Paired bootstrap over users of the difference between two AUCs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CHUNK = 64


@dataclass(frozen=True)
class AucDifference:
    """What two models differ by on the same samples.

    Attributes:
      auc_baseline: mean AUC over the baseline's seeds.
      auc_candidate: mean AUC over the candidate's seeds.
      difference: candidate less baseline.
      low: lower end of the 95 % interval of the difference.
      high: upper end.
    """

    auc_baseline: float
    auc_candidate: float
    difference: float
    low: float
    high: float

    @property
    def relative_lift(self) -> float:
        """(candidate - baseline) / baseline."""
        return self.difference / self.auc_baseline


def bootstrap_auc_difference(
    labels: np.ndarray,
    user_ids: np.ndarray,
    baseline_scores: np.ndarray,
    candidate_scores: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
) -> AucDifference:
    """Resamples users with replacement; every resample is scored by all runs of both sides.

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
    users, index = np.unique(user_ids, return_inverse=True)
    generator = np.random.default_rng(seed)
    curves = [
        [_Ranked(labels, scores) for scores in side] for side in (baseline_scores, candidate_scores)
    ]
    ones = np.ones([1, len(labels)])
    baseline, candidate = (float(np.mean([run.auc(ones)[0] for run in side])) for side in curves)
    differences = []
    for start in range(0, resamples, _CHUNK):
        count = min(_CHUNK, resamples - start)
        draws = generator.multinomial(len(users), np.full(len(users), 1 / len(users)), size=count)
        weights = draws[:, index].astype(np.float64)
        sides = [np.mean([run.auc(weights) for run in side], axis=0) for side in curves]
        differences.append(sides[1] - sides[0])
    low, high = np.nanpercentile(np.concatenate(differences), [2.5, 97.5])
    return AucDifference(baseline, candidate, candidate - baseline, float(low), float(high))


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
