"""The difference between two models with what other users and other seeds may do to it.

Users are resampled (paired bootstrap: every run is judged on the same users), and each resample's
difference moves by what a new draw of training seeds would change:

    d*_b = d(users of resample b) + e t_b,    e^2 = s_A^2 / K_A + s_B^2 / K_B

s_A is the sample standard deviation of the metric between the K_A runs of a side, on all users.
Resampling the runs themselves would not do: the variance of a plain bootstrap of K values is
(K - 1) / K of the right one (a third is missing with three seeds), and its few distinct resamples
have no tails, although a deviation of three values is itself uncertain. So t_b is drawn from
Student's t with Welch's degrees of freedom,

    e^4 / ((s_A^2 / K_A)^2 / (K_A - 1) + (s_B^2 / K_B)^2 / (K_B - 1)),

which alone, without users, is Welch's test. Sources: Hesterberg, "What Teachers Should Know About
the Bootstrap", The American Statistician 69 (2015), on the factor and on t in place of small
samples; Welch, "The Generalization of Student's Problem when Several Different Population
Variances are Involved", Biometrika 34 (1947); Owen, "The Pigeonhole Bootstrap", Annals of Applied
Statistics 1 (2007): where users and seeds interact, the sum of both variances counts the
interaction twice, so intervals are at most too wide.

Runs of two models are independent, also where seeds have one number: it begins other weights in
each. Only where both sides are the same trainings (`paired_runs`) is K the number of pairs, s the
deviation of their differences, and K - 1 the degrees of freedom.
"""

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
      seed_error: standard error of the difference by the choice of seeds alone; NaN where a side
        has a single run, and interval and p-value are then about users only.
    """

    baseline: float
    candidate: float
    difference: float
    low: float
    high: float
    p_value: float = math.nan
    seed_error: float = math.nan

    @property
    def relative_lift(self) -> float:
        """(candidate - baseline) / baseline; NaN when the baseline is 0."""
        return self.difference / self.baseline if self.baseline else math.nan

    @property
    def covers_seeds(self) -> bool:
        """Whether interval and p-value also say what other seeds would have shown."""
        return not math.isnan(self.seed_error)

    @property
    def seeds_scatter(self) -> bool:
        """Whether seeds alone might make such a difference: it is below two of their errors."""
        return self.covers_seeds and abs(self.difference) < 2 * self.seed_error


def bootstrap_auc_difference(
    labels: np.ndarray,
    user_ids: np.ndarray,
    baseline_scores: np.ndarray,
    candidate_scores: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
    paired_runs: bool = False,
) -> Difference:
    """Difference of AUCs; the AUC of a side is the mean over its runs (seeds).

    Args:
      labels: [n], 0 or 1.
      user_ids: [n].
      baseline_scores: [runs, n]; without a run the baseline is 0, and the difference the
        candidate's AUC.
      candidate_scores: [runs, n].
      resamples: number of resamples.
      seed: of the resampling.
      paired_runs: whether run i of both sides is one training, judged in two ways.

    Returns:
      The difference with its percentile interval.
    """
    baseline, candidate = (
        [_Ranked(labels, scores).auc for scores in side]
        for side in (baseline_scores, candidate_scores)
    )
    return _bootstrap(baseline, candidate, user_ids, resamples, seed, paired_runs)


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
      baseline_values: [runs, n], the metric of every example; 0 without a run.
      candidate_values: [runs, n].
      resamples: number of resamples.
      seed: of the resampling.
    """
    baseline, candidate = (
        [_mean_of(values) for values in side] for side in (baseline_values, candidate_values)
    )
    return _bootstrap(baseline, candidate, user_ids, resamples, seed, paired_runs=False)


_Metric = Callable[[np.ndarray], np.ndarray]
"""Weights of the examples [resamples, n] -> the metric under them [resamples]."""


def _bootstrap(
    baseline_runs: Sequence[_Metric],
    candidate_runs: Sequence[_Metric],
    user_ids: np.ndarray,
    resamples: int,
    seed: int,
    paired_runs: bool,
) -> Difference:
    users, index = np.unique(user_ids, return_inverse=True)
    generator = np.random.default_rng(seed)
    sides = (baseline_runs, candidate_runs)
    ones = np.ones([1, len(user_ids)])
    by_run = [np.array([run(ones)[0] for run in side]) for side in sides]
    baseline, candidate = (float(np.mean(values)) if len(values) else 0.0 for values in by_run)
    differences = []
    for start in range(0, resamples, _CHUNK):
        count = min(_CHUNK, resamples - start)
        draws = generator.multinomial(len(users), np.full(len(users), 1 / len(users)), size=count)
        weights = draws[:, index].astype(np.float64)
        means = [np.mean([run(weights) for run in side], axis=0) if side else 0.0 for side in sides]
        differences.append(means[1] - means[0])
    seed_error, freedom = _seed_error([by_run[1] - by_run[0]] if paired_runs else by_run)
    resampled = np.concatenate(differences)
    if seed_error > 0:
        resampled = resampled + seed_error * generator.standard_t(freedom, size=resamples)
    known = resampled[~np.isnan(resampled)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (math.nan, math.nan)
    return Difference(
        baseline,
        candidate,
        candidate - baseline,
        float(low),
        float(high),
        two_sided_p(known),
        seed_error,
    )


def _seed_error(samples: Sequence[np.ndarray]) -> tuple[float, float]:
    """Standard error of a sum of means and Welch's degrees of freedom; NaN of single values."""
    samples = [values for values in samples if len(values)]
    if any(len(values) < 2 for values in samples):
        return math.nan, math.nan
    variances = [float(values.var(ddof=1)) / len(values) for values in samples]
    uncertainty = sum(
        variance**2 / (len(values) - 1) for variance, values in zip(variances, samples, strict=True)
    )
    freedom = sum(variances) ** 2 / uncertainty if uncertainty else math.inf
    return math.sqrt(sum(variances)), freedom


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
