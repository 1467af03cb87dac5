"""DeLong's test: whether two AUCs on the same samples differ by more than chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

_NORMAL = NormalDist()


@dataclass(frozen=True)
class DeLongTest:
    """Result of the test.

    Attributes:
      difference: AUC of the candidate less that of the baseline.
      standard_error: of the difference; NaN with a single positive or negative sample, and so are
        the figures below.
      low: lower end of the 95 % interval of the difference.
      high: upper end.
      p_value: two-sided; 1 where both sides rank alike.
    """

    difference: float
    standard_error: float
    low: float
    high: float
    p_value: float


def delong_test(
    labels: np.ndarray, baseline_scores: np.ndarray, candidate_scores: np.ndarray
) -> DeLongTest:
    """Compares two models, or two groups of runs by the mean of their AUCs.

    With X_i the m positive and Y_j the n negative samples, psi = 1, 1/2 or 0 where X_i scores
    higher, equal or lower, an AUC is the mean of psi over all pairs. Its structural components are
    V10_i = mean_j psi(X_i, Y_j) and V01_j = mean_i psi(X_i, Y_j); with D10 and D01 the differences
    of both sides' components, the variance of the difference is var(D10) / m + var(D01) / n
    (DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver
    Operating Characteristic Curves: A Nonparametric Approach", Biometrics 44, 1988, eq. 5 to 8).
    Components come from mid-ranks in O(N log N) (Sun and Xu, "Fast Implementation of DeLong's
    Algorithm", IEEE Signal Processing Letters 21, 2014).

    The mean of several AUCs is the mean of the mean of their psi, so its components are the means
    of theirs. The test takes samples as independent of each other, which those of one user are not:
    it is about other samples, and the bootstrap about other users and, of several runs a side,
    other seeds. Which seeds were trained is taken as given here.

    Args:
      labels: [N], 0 or 1, both of them.
      baseline_scores: [runs, N].
      candidate_scores: [runs, N].
    """
    baseline, candidate = (
        [_components(labels, scores) for scores in side]
        for side in (baseline_scores, candidate_scores)
    )
    of_positives, of_negatives = (
        np.mean([run[kind] for run in candidate], axis=0)
        - np.mean([run[kind] for run in baseline], axis=0)
        for kind in (0, 1)
    )
    difference = float(of_positives.mean())
    variance = _variance_of_mean(of_positives) + _variance_of_mean(of_negatives)
    error = math.sqrt(variance)
    margin = _NORMAL.inv_cdf(0.975) * error
    if error:
        p_value = math.erfc(abs(difference) / error / math.sqrt(2))
    else:
        p_value = 0.0 if difference else 1.0
    return DeLongTest(difference, error, difference - margin, difference + margin, p_value)


def _components(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V10 [m] and V01 [n] of a run, in the order of the samples."""
    positive = labels > 0
    ranks = _mid_ranks(scores)
    num_positives = np.count_nonzero(positive)
    num_negatives = len(labels) - num_positives
    of_positives = (ranks[positive] - _mid_ranks(scores[positive])) / num_negatives
    of_negatives = 1 - (ranks[~positive] - _mid_ranks(scores[~positive])) / num_positives
    return of_positives, of_negatives


def _mid_ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal scores sharing the mean of theirs."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _variance_of_mean(values: np.ndarray) -> float:
    """Sample variance over the number of values; NaN for a single value."""
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else math.nan
