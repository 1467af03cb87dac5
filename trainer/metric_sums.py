"""Sums from which metrics are computed, by group: the same to the last bit in any order.

Training and `compare` add the samples of a part that memory holds, `evaluate` the batches of one
that it need not hold, and the groups of its slices. Sums are of whole numbers, so that batches,
threads and the order of samples change no digit of a metric.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_EPSILON = np.finfo(np.float64).eps


def log_losses(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Negative log likelihood of every sample in nats, as scikit-learn's `log_loss` has it.

    Computed in float64; a probability is at least its machine epsilon, so that no loss is infinite.

    Args:
      labels: [n], 0 or 1.
      scores: [n], between 0 and 1.
    """
    scores = scores.astype(np.float64)
    likelihoods = np.where(labels > 0, scores, 1 - scores)
    return -np.log(np.clip(likelihoods, _EPSILON, 1 - _EPSILON))


_COARSE_BITS, _FINE_BITS = 24, 31


class ExactSums:
    """Sums of values, of every group.

    A value counts as the nearest multiple of 2^-55, and multiples are added up as whole numbers: up
    to 4e9 values, each of a magnitude below 64.
    """

    def __init__(self, num_groups: int):
        """Starts at 0."""
        # In units of 2^-24, and what that leaves in units of 2^-55: both stay below 2^63.
        self._coarse = np.zeros(num_groups, np.int64)
        self._fine = np.zeros(num_groups, np.int64)

    def add(self, groups: np.ndarray, values: np.ndarray, counts: np.ndarray | None = None) -> None:
        """Adds values: float64 [m], of groups int [m], as often as int [m] says or once each."""
        scaled = values * 2.0**_COARSE_BITS
        coarse = np.rint(scaled)
        fine = np.rint((scaled - coarse) * 2.0**_FINE_BITS)
        for sums, units in ((self._coarse, coarse), (self._fine, fine)):
            whole = units.astype(np.int64)
            np.add.at(sums, groups, whole if counts is None else whole * counts)

    def mean(self, group: int, count: int) -> float:
        """Sum of a group over a number above 0, rounded once."""
        units = (int(self._coarse[group]) << _FINE_BITS) + int(self._fine[group])
        return units / (count << (_COARSE_BITS + _FINE_BITS))


def exact_mean(values: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean of values, float64 [n] with n above 0, by whole weights, int [n], or 1 each."""
    sums = ExactSums(1)
    sums.add(np.zeros(len(values), np.int64), values, weights)
    return sums.mean(0, len(values) if weights is None else int(weights.sum()))


class GroupMeans:
    """Weighted means of values by name, of every group.

    Attributes:
      weights: int64 [groups], sums of weights; numbers of values where none have weights.
    """

    def __init__(self, num_groups: int):
        """Starts without values."""
        self.weights = np.zeros(num_groups, np.int64)
        self._sums: dict[str, ExactSums] = {}

    def add(
        self,
        groups: np.ndarray,
        values: Mapping[str, np.ndarray],
        weights: np.ndarray | None = None,
    ) -> None:
        """Adds values: name -> float64 [m], of groups int [m], with weights int [m] or 1 each."""
        count = len(self.weights)
        np.add.at(self.weights, groups, 1 if weights is None else weights)
        for name, added in values.items():
            self._sums.setdefault(name, ExactSums(count)).add(groups, added, weights)

    def means(self, group: int) -> dict[str, float | None]:
        """Means of a group; None if no value was added."""
        weight = int(self.weights[group])
        return {
            name: sums.mean(group, weight) if weight else None for name, sums in self._sums.items()
        }


@dataclass(frozen=True)
class TieGroups:
    """Samples of one group with one score, counted.

    Attributes:
      groups: int [m]; those of a group follow each other.
      scores: [m], ascending within a group.
      positives: int64 [m].
      negatives: int64 [m].
    """

    groups: np.ndarray
    scores: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    @classmethod
    def of_samples(cls, groups: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> TieGroups:
        """Counts samples.

        Args:
          groups: int [n]; the samples of a group follow each other.
          labels: [n], 0 or 1.
          scores: [n], ascending within a group.
        """
        positives = (labels > 0).astype(np.int64)
        return cls(groups, scores, positives, 1 - positives).merged()

    def merged(self) -> TieGroups:
        """The same samples, those of a group with one score counted together."""
        if not len(self.groups):
            return self
        starts = np.flatnonzero(
            np.r_[
                True,
                (self.groups[1:] != self.groups[:-1]) | (self.scores[1:] != self.scores[:-1]),
            ]
        )
        return TieGroups(
            self.groups[starts],
            self.scores[starts],
            np.add.reduceat(self.positives, starts),
            np.add.reduceat(self.negatives, starts),
        )

    def where(self, chosen: np.ndarray) -> TieGroups:
        """Some of them: bool [m], or their places in another order."""
        return TieGroups(
            self.groups[chosen], self.scores[chosen], self.positives[chosen], self.negatives[chosen]
        )


class PairCounts:
    """Pairs of a positive and a negative sample of every group, and those that are in order.

    The AUC is the share of pairs in which the positive sample has the higher score, equal scores
    counting half. Samples come in ascending order of score; the pairs that a positive sample wins
    are then with the negative ones that came before, so whole numbers say all, up to 4e9 samples.

    Attributes:
      positives: int64 [groups].
      negatives: int64 [groups].
    """

    def __init__(self, num_groups: int):
        """Starts with no sample."""
        self.positives = np.zeros(num_groups, np.int64)
        self.negatives = np.zeros(num_groups, np.int64)
        # Twice the pairs won, so that halves are whole numbers.
        self._doubled_pairs = np.zeros(num_groups, np.int64)

    @property
    def samples(self) -> np.ndarray:
        """Number of samples: int64 [groups]."""
        return self.positives + self.negatives

    def add(self, ties: TieGroups) -> None:
        """Adds samples, each score of a group once and higher than all that it had before."""
        if not len(ties.groups):
            return
        starts = np.flatnonzero(np.r_[True, ties.groups[1:] != ties.groups[:-1]])
        groups = ties.groups[starts]
        through = np.cumsum(ties.negatives)
        before = through - ties.negatives
        sizes = np.diff(np.r_[starts, len(ties.groups)])
        below = before - np.repeat(before[starts] - self.negatives[groups], sizes)
        pairs = ties.positives * (2 * below + ties.negatives)
        self._doubled_pairs[groups] += np.add.reduceat(pairs, starts)
        self.positives[groups] += np.add.reduceat(ties.positives, starts)
        self.negatives[groups] += np.add.reduceat(ties.negatives, starts)

    def auc(self) -> np.ndarray:
        """AUC of every group: float64 [groups], NaN where there is one class only."""
        possible = 2 * self.positives * self.negatives
        aucs = np.divide(
            self._doubled_pairs, possible, out=np.full(len(possible), np.nan), where=possible > 0
        )
        # Beyond 2^53 floats would round before they divide.
        for group in np.flatnonzero(possible > 2**53):
            aucs[group] = int(self._doubled_pairs[group]) / int(possible[group])
        return aucs


class ScoreSums:
    """What AUC, LogLoss and calibration are computed from, of every group.

    Samples come in ascending order of score. The last score of each group waits as a count, because
    the next batch may go on with it; all else is complete after `finish`.

    Attributes:
      pairs: of which the AUC is the share that is in order.
    """

    def __init__(self, num_groups: int):
        """Starts with no sample."""
        self.pairs = PairCounts(num_groups)
        self._losses = ExactSums(num_groups)
        self._scores = ExactSums(num_groups)
        none = np.zeros(0, np.int64)
        self._waiting = TieGroups(none, np.zeros(0, np.float32), none, none)

    @classmethod
    def of_part(cls, labels: np.ndarray, scores: np.ndarray) -> ScoreSums:
        """Sums of one group with samples in any order: labels [n], 0 or 1, and scores [n]."""
        ascending = np.argsort(scores)
        sums = cls(1)
        sums.add(np.zeros(len(labels), np.int64), labels[ascending], scores[ascending])
        sums.finish()
        return sums

    def add(self, groups: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> TieGroups:
        """Adds samples.

        Args:
          groups: int [m].
          labels: [m], 0 or 1.
          scores: [m], none lower than any that was added to the same group before.

        Returns:
          Groups of equal scores that are complete now, those of an earlier batch included.
        """
        positive, waiting = labels > 0, self._waiting
        joined = TieGroups(
            np.r_[waiting.groups, groups],
            np.r_[waiting.scores, scores],
            np.r_[waiting.positives, positive],
            np.r_[waiting.negatives, ~positive],
        )
        # Numbers of 16 bits, as those of groups mostly are, are sorted in linear time.
        numbers = joined.groups.astype(np.min_scalar_type(len(self.pairs.positives)))
        ties = joined.where(np.argsort(numbers, kind="stable")).merged()
        is_last = np.ones(len(ties.groups), bool)
        is_last[:-1] = ties.groups[1:] != ties.groups[:-1]
        self._waiting = ties.where(is_last)
        complete = ties.where(~is_last)
        self._count(complete)
        return complete

    def finish(self) -> TieGroups:
        """Counts what waited for more; call it once, at the end.

        Returns:
          The last groups of equal scores.
        """
        waiting = self._waiting
        self._waiting = waiting.where(np.zeros(len(waiting.groups), bool))
        self._count(waiting)
        return waiting

    def logloss(self, group: int) -> float:
        """Mean negative log likelihood, in nats, of a group that has samples."""
        return self._losses.mean(group, int(self.pairs.samples[group]))

    def mean_score(self, group: int) -> float:
        """Mean score of a group that has samples."""
        return self._scores.mean(group, int(self.pairs.samples[group]))

    def _count(self, ties: TieGroups) -> None:
        self.pairs.add(ties)
        scores = ties.scores.astype(np.float64)
        for label, counts in enumerate((ties.negatives, ties.positives)):
            counted = np.flatnonzero(counts)
            losses = log_losses(np.full(len(counted), label), scores[counted])
            self._losses.add(ties.groups[counted], losses, counts[counted])
        self._scores.add(ties.groups, scores, ties.positives + ties.negatives)
