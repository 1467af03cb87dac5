"""Whether models differ by more than chance: bootstrap over users and seeds, DeLong, Holm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

FEWEST_USERS = 10
"""Users below whom there is neither interval nor p-value: resamples of a handful say little."""
_RESAMPLES_AT_ONCE = 64
_DRAWS_AT_ONCE = 1 << 22
"""Users times resamples drawn at once; each takes some 16 bytes."""
_WEIGHTS_AT_ONCE = 1 << 22
"""Samples times resamples weighted at once; each takes some 60 bytes."""
_MOST_PAIRS = 1 << 27
"""Numbers, 8 bytes each, that AUCs by users may hold."""
_PAIRS_FOR_A_SAMPLE = 200
"""Pairs of users that a resample multiplies while it weighs one sample of one run."""


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
        no resample has samples of both classes or there are fewer than `FEWEST_USERS` users.
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
      paired_runs: whether run i of both sides, which then have as many, belongs together: one
        training judged in two ways, or one backbone and seed. The error of seeds is then that of
        the pairs' differences.

    Returns:
      The difference with its percentile interval.

    Raises:
      ValueError: paired runs are not as many on both sides.
    """
    users, index = np.unique(user_ids, return_inverse=True)
    sides = baseline_scores, candidate_scores
    runs, blocks = len(baseline_scores) + len(candidate_scores), len(labels) / _BLOCK
    by_users = (
        len(users) ** 2 <= _PAIRS_FOR_A_SAMPLE * runs * len(labels)
        and len(users) * (2 * len(users) + 4 * blocks) <= _MOST_PAIRS
    )
    measured = (_aucs_by_users if by_users else _aucs_by_samples)(labels, sides, index, len(users))
    return _bootstrap(measured, len(users), resamples, seed, paired_runs)


def bootstrap_mean_difference(
    user_ids: np.ndarray,
    baseline_values: np.ndarray,
    candidate_values: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
    paired_runs: bool = False,
) -> Difference:
    """Difference of means over examples, for example of the lists' NDCG; see the AUC's.

    Args:
      user_ids: [n].
      baseline_values: [runs, n], the metric of every example; 0 without a run.
      candidate_values: [runs, n].
      resamples: number of resamples.
      seed: of the resampling.
      paired_runs: see the AUC's.
    """
    users, index = np.unique(user_ids, return_inverse=True)
    measured = _means((baseline_values, candidate_values), index, len(users))
    return _bootstrap(measured, len(users), resamples, seed, paired_runs)


_Sides = tuple[np.ndarray, np.ndarray]
"""[runs, n] of the baseline and of the candidate."""


@dataclass(frozen=True)
class _Measured:
    """Two sides in one metric.

    Attributes:
      by_run: the metric of every run of both sides, [runs] each.
      difference: how often each user was drawn [resamples, users] -> mean of the candidate's runs
        less mean of the baseline's [resamples]; a side without a run counts as 0.
    """

    by_run: tuple[np.ndarray, np.ndarray]
    difference: Callable[[np.ndarray], np.ndarray]


def _bootstrap(
    measured: _Measured, users: int, resamples: int, seed: int, paired_runs: bool
) -> Difference:
    generator = np.random.default_rng(seed)
    by_run = measured.by_run
    if paired_runs and len(by_run[0]) != len(by_run[1]):
        raise ValueError(f"{len(by_run[0])} and {len(by_run[1])} runs are no pairs")
    baseline, candidate = (_mean_of_runs(values) for values in by_run)
    differences = [np.empty(0)]
    at_once = min(_RESAMPLES_AT_ONCE, max(1, _DRAWS_AT_ONCE // users)) if users else 1
    for start in range(0, resamples if users >= FEWEST_USERS else 0, at_once):
        count = min(at_once, resamples - start)
        draws = generator.multinomial(users, np.full(users, 1 / users), size=count)
        differences.append(measured.difference(draws.astype(np.float64)))
    seed_error, freedom = _seed_error([by_run[1] - by_run[0]] if paired_runs else by_run)
    resampled = np.concatenate(differences)
    if seed_error > 0:
        resampled = resampled + seed_error * generator.standard_t(freedom, size=len(resampled))
    defined = resampled[~np.isnan(resampled)]
    low, high = np.percentile(defined, [2.5, 97.5]) if len(defined) else (math.nan, math.nan)
    return Difference(
        float(baseline),
        float(candidate),
        float(candidate - baseline),
        float(low),
        float(high),
        two_sided_p(defined),
        seed_error,
    )


def _mean_of_runs(values: np.ndarray) -> np.ndarray:
    """[runs, ...] -> [...]; 0 without a run."""
    return values.mean(axis=0, dtype=np.float64) if len(values) else np.zeros(values.shape[1:])


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


def _means(sides: _Sides, index: np.ndarray, users: int) -> _Measured:
    """Means over examples: of each user's, what they sum to and how many they are."""
    baseline, candidate = (_mean_of_runs(values) for values in sides)
    sums = np.bincount(index, candidate - baseline, users)
    counts = np.bincount(index, minlength=users).astype(np.float64)
    return _Measured(
        (sides[0].mean(axis=1, dtype=np.float64), sides[1].mean(axis=1, dtype=np.float64)),
        lambda draws: (draws @ sums) / (draws @ counts),
    )


def _aucs_by_samples(labels: np.ndarray, sides: _Sides, index: np.ndarray, users: int) -> _Measured:
    """AUCs, ties half, of samples that are sorted once; NaN with one class only.

    Args:
      labels: [n], 0 or 1.
      sides: scores of every run.
      index: int [n], the user of each.
      users: their number.
    """
    baseline, candidate = (
        [_auc_of_samples(labels, scores, index) for scores in side] for side in sides
    )

    def aucs(side: list[_Auc], draws: np.ndarray) -> np.ndarray:
        return np.array([auc(draws) for auc in side]).reshape([len(side), len(draws)])

    everybody = np.ones([1, users])
    return _Measured(
        (aucs(baseline, everybody)[:, 0], aucs(candidate, everybody)[:, 0]),
        lambda draws: _mean_of_runs(aucs(candidate, draws)) - _mean_of_runs(aucs(baseline, draws)),
    )


_Auc = Callable[[np.ndarray], np.ndarray]


def _auc_of_samples(labels: np.ndarray, scores: np.ndarray, index: np.ndarray) -> _Auc:
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    tie_starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    positive = labels[order].astype(np.float64)
    users = index[order]
    at_once = max(1, _WEIGHTS_AT_ONCE // len(scores))

    def auc(draws: np.ndarray) -> np.ndarray:
        weights = draws[:, users]
        positives = np.add.reduceat(weights * positive, tie_starts, axis=1)
        negatives = np.add.reduceat(weights * (1 - positive), tie_starts, axis=1)
        below = np.cumsum(negatives, axis=1) - negatives
        pairs = (positives * (below + negatives / 2)).sum(axis=1)
        return _share(pairs, positives.sum(axis=1) * negatives.sum(axis=1))

    def some_at_once(draws: np.ndarray) -> np.ndarray:
        starts = range(0, len(draws), at_once)
        return np.concatenate([auc(draws[start : start + at_once]) for start in starts])

    return some_at_once


_BLOCK = 256


def _aucs_by_users(labels: np.ndarray, sides: _Sides, index: np.ndarray, users: int) -> _Measured:
    """The same, of one run to the last digit, from how users' samples compare with each other's.

    With M[u, v] the number of pairs in which a positive sample of u scores higher than a negative
    one of v, ties half, and w how often each user was drawn, the AUC is w' M w over the pairs that
    there are. M takes one pass over the sorted samples of a run, and the runs' mean is that of
    their M, so that a resample costs one product however many samples and runs there are.

    Args:
      labels: [n], 0 or 1.
      sides: scores of every run.
      index: int [n], the user of each.
      users: their number.
    """
    positives, negatives = (
        np.bincount(index, of_class, users) for of_class in (labels > 0, labels <= 0)
    )
    counts = [max(1, len(side)) for side in sides]
    # Whole multiples of halves: what both sides win alike is exactly 0.
    won_more = np.zeros([users, users])
    pairs_of_runs: tuple[list[float], list[float]] = ([], [])
    for side, weight, pairs in zip(sides, (-counts[1], counts[0]), pairs_of_runs, strict=True):
        for scores in side:
            won = _pairs_won(labels, scores, index, users)
            pairs.append(float(won.sum()))
            won *= weight
            won_more += won
            del won
    possible = positives.sum() * negatives.sum()
    by_run = [_share(np.array(pairs), np.full(len(pairs), possible)) for pairs in pairs_of_runs]

    def difference(draws: np.ndarray) -> np.ndarray:
        pairs = (draws @ positives) * (draws @ negatives) * math.prod(counts)
        return _share(((draws @ won_more) * draws).sum(axis=1), pairs)

    return _Measured((by_run[0], by_run[1]), difference)


def _pairs_won(labels: np.ndarray, scores: np.ndarray, index: np.ndarray, users: int) -> np.ndarray:
    """M of `_aucs_by_users` [users, users]."""
    order = np.argsort(scores, kind="stable")
    scores, index, positive = scores[order], index[order], labels[order] > 0
    starts = _block_starts(scores)
    block = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(scores)]))
    positives = np.zeros([len(starts), users])
    negatives = np.zeros([len(starts), users])
    np.add.at(positives, (block[positive], index[positive]), 1.0)
    np.add.at(negatives, (block[~positive], index[~positive]), 1.0)
    below = np.cumsum(negatives, axis=0) - negatives
    ends = np.r_[starts[1:], len(scores)]
    tied = scores[starts] == scores[ends - 1]
    below[tied] += negatives[tied] / 2
    won = positives.T @ below
    for start, end in zip(starts[~tied], ends[~tied], strict=True):
        rows = np.arange(start, end)
        positive_rows, negative_rows = rows[positive[rows]], rows[~positive[rows]]
        first, second = scores[positive_rows, np.newaxis], scores[negative_rows]
        wins = (first > second) + (first == second) / 2
        np.add.at(won, (index[positive_rows, np.newaxis], index[negative_rows]), wins)
    return won


def _block_starts(ordered: np.ndarray) -> np.ndarray:
    """Starts of blocks of about `_BLOCK` sorted scores; equal ones in one, many alone."""
    ties = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    many = np.diff(np.r_[ties, len(ordered)]) >= _BLOCK
    new_block = np.r_[True, (np.diff(ties // _BLOCK) > 0) | many[1:] | many[:-1]]
    return ties[new_block]


def _share(pairs: np.ndarray, possible: np.ndarray) -> np.ndarray:
    return np.divide(pairs, possible, out=np.full(len(pairs), np.nan), where=possible > 0)


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
    positive_components, negative_components = (
        np.mean([run[kind] for run in candidate], axis=0)
        - np.mean([run[kind] for run in baseline], axis=0)
        for kind in (0, 1)
    )
    difference = float(positive_components.mean())
    variance = _variance_of_mean(positive_components) + _variance_of_mean(negative_components)
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
    positive_components = (ranks[positive] - _mid_ranks(scores[positive])) / num_negatives
    negative_components = 1 - (ranks[~positive] - _mid_ranks(scores[~positive])) / num_positives
    return positive_components, negative_components


def _mid_ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal scores sharing the mean of theirs."""
    _, value_index, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[value_index]


def _variance_of_mean(values: np.ndarray) -> float:
    """Sample variance over the number of values; NaN for a single value."""
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else math.nan


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values after Holm's step-down correction, in the order given.

    With the i-th smallest of m p-values p_(i): max over j <= i of min(1, (m - j + 1) p_(j)). Holm,
    "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6
    (1979). NaN stands for a test that was not made: it stays, and does not count.
    """
    values = np.asarray(p_values, np.float64)
    made = np.flatnonzero(~np.isnan(values))
    order = made[np.argsort(values[made], kind="stable")]
    factors = len(made) - np.arange(len(made))
    adjusted = np.full(len(values), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted.tolist()
