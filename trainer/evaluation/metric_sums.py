"""Exact metrics of many groups of samples in one pass: AUC, loss, calibration, lists, ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from preprocessing.records.contract import LABEL, USER_ID
from trainer.evaluation.slices import Slice
from trainer.metrics import RankedLists, log_losses


@dataclass(frozen=True)
class ReliabilityBin:
    """Samples with scores next to each other.

    Attributes:
      lowest: smallest score.
      highest: largest score.
      mean_score: mean score.
      share_positive: share of samples with label 1.
      n: number of samples.
    """

    lowest: float
    highest: float
    mean_score: float
    share_positive: float
    n: int


class ReliabilityCurve:
    """Bins of equal numbers of samples, ordered by score.

    Of N samples in ascending order of score the one at place r, from 0, is in bin floor(r B / N) of
    B; samples with equal scores are all in the bin of the first, so that the bins do not depend on
    the order of equal ones. A bin may then stay empty; it is left out.
    """

    def __init__(self, num_samples: int, num_bins: int):
        """Starts empty.

        Args:
          num_samples: samples that will be added.
          num_bins: number of bins.
        """
        self._num_samples = num_samples
        self._seen = 0
        self._samples = np.zeros(num_bins, np.int64)
        self._positives = np.zeros(num_bins, np.int64)
        self._score_sum = np.zeros(num_bins)
        self._lowest = np.full(num_bins, np.inf)
        self._highest = np.full(num_bins, -np.inf)

    def add(self, ties: TieGroups) -> None:
        """Adds groups of equal scores, all of one group of samples, in ascending order."""
        count = len(self._samples)
        samples = ties.positives + ties.negatives
        places = self._seen + np.cumsum(samples) - samples
        bins = places * count // self._num_samples
        # Weighted counts are whole numbers below 2^53, which floats hold exactly.
        self._samples += np.bincount(bins, samples, count).astype(np.int64)
        self._positives += np.bincount(bins, ties.positives, count).astype(np.int64)
        self._score_sum += np.bincount(bins, samples * ties.scores.astype(np.float64), count)
        np.minimum.at(self._lowest, bins, ties.scores)
        np.maximum.at(self._highest, bins, ties.scores)
        self._seen += int(samples.sum())

    def bins(self) -> list[ReliabilityBin]:
        """The bins that have samples, in order of score."""
        return [
            ReliabilityBin(
                lowest=float(self._lowest[number]),
                highest=float(self._highest[number]),
                mean_score=float(self._score_sum[number] / self._samples[number]),
                share_positive=float(self._positives[number] / self._samples[number]),
                n=int(self._samples[number]),
            )
            for number in np.flatnonzero(self._samples)
        ]


def calibration_error(bins: list[ReliabilityBin]) -> float:
    """Expected calibration error: mean |mean score - share of positives| over samples.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), eq. 3, there with bins of equal
    width; with few positives nearly all samples would be in the first of those.
    """
    total = sum(found.n for found in bins)
    return sum(found.n * abs(found.mean_score - found.share_positive) for found in bins) / total


@dataclass(frozen=True)
class TieGroups:
    """Samples of one group with one score, counted.

    Attributes:
      groups: int [m], ascending.
      scores: [m], ascending within a group.
      positives: int64 [m].
      negatives: int64 [m].
    """

    groups: np.ndarray
    scores: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    def where(self, chosen: np.ndarray) -> TieGroups:
        """Some of them: bool [m]."""
        return TieGroups(
            self.groups[chosen], self.scores[chosen], self.positives[chosen], self.negatives[chosen]
        )


class ScoreSums:
    """What AUC, LogLoss and calibration are computed from, of every group.

    The AUC is the share of pairs of a positive and a negative sample in which the positive one has
    the higher score, equal scores counting half. Samples come in ascending order of score; the
    pairs of a positive sample are then the negatives that came before, so whole numbers say all, up
    to 4e9 samples. The last score of each group waits as a count, because the next batch may go on
    with it; sums are complete after `finish`.

    Attributes:
      samples: int64 [groups].
      positives: int64 [groups].
      score_sum: float64 [groups].
      loss_sum: float64 [groups], of negative log likelihoods in nats.
    """

    def __init__(self, num_groups: int):
        """Starts with no sample."""
        self.samples = np.zeros(num_groups, np.int64)
        self.positives = np.zeros(num_groups, np.int64)
        self.score_sum = np.zeros(num_groups)
        self.loss_sum = np.zeros(num_groups)
        self._negatives_so_far = np.zeros(num_groups, np.int64)
        self._doubled_pairs = np.zeros(num_groups, np.int64)
        none = np.zeros(0, np.int64)
        self._waiting = TieGroups(none, np.zeros(0, np.float32), none, none)

    def add(self, groups: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> TieGroups:
        """Adds samples.

        Args:
          groups: int [m].
          labels: [m], 0 or 1.
          scores: [m], none lower than any that was added to the same group before.

        Returns:
          Groups of equal scores that are complete now, those of an earlier batch included.
        """
        count = len(self.samples)
        positive = labels > 0
        self.samples += np.bincount(groups, minlength=count)
        self.positives += np.bincount(groups[positive], minlength=count)
        waiting = self._waiting
        joined = TieGroups(
            np.r_[waiting.groups, groups],
            np.r_[waiting.scores, scores],
            np.r_[waiting.positives, positive],
            np.r_[waiting.negatives, ~positive],
        )
        ties = _tied(joined)
        is_last = np.r_[
            ties.groups[1:] != ties.groups[:-1], np.ones(min(1, len(ties.groups)), bool)
        ]
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

    def auc(self) -> np.ndarray:
        """AUC of every group: float64 [groups], NaN where there is one class only."""
        # Of Python's whole numbers: beyond 2^53 a product of floats would be rounded.
        possible = 2 * self.positives * (self.samples - self.positives)
        return np.array(
            [
                won / pairs if pairs else np.nan
                for won, pairs in zip(self._doubled_pairs.tolist(), possible.tolist(), strict=True)
            ]
        )

    def _count(self, ties: TieGroups) -> None:
        """Adds complete groups, so that the order of equal scores makes no difference."""
        if not len(ties.groups):
            return
        count, samples = len(self.samples), ties.positives + ties.negatives
        losses = ties.positives * log_losses(np.ones(len(samples)), ties.scores)
        losses += ties.negatives * log_losses(np.zeros(len(samples)), ties.scores)
        self.loss_sum += np.bincount(ties.groups, losses, count)
        self.score_sum += np.bincount(ties.groups, samples * ties.scores.astype(np.float64), count)
        starts = np.flatnonzero(np.r_[True, ties.groups[1:] != ties.groups[:-1]])
        groups = ties.groups[starts]
        through = np.cumsum(ties.negatives)
        before = through - ties.negatives
        sizes = np.diff(np.r_[starts, len(ties.groups)])
        below = before - np.repeat(before[starts] - self._negatives_so_far[groups], sizes)
        pairs = ties.positives * (2 * below + ties.negatives)
        self._doubled_pairs[groups] += np.add.reduceat(pairs, starts)
        self._negatives_so_far[groups] += np.add.reduceat(ties.negatives, starts)


def _tied(samples: TieGroups) -> TieGroups:
    """Samples in any order of groups, ascending scores in each -> groups of equal scores."""
    order = np.argsort(samples.groups, kind="stable")
    groups, scores = samples.groups[order], samples.scores[order]
    starts = np.flatnonzero(
        np.r_[
            np.ones(min(1, len(groups)), bool),
            (groups[1:] != groups[:-1]) | (scores[1:] != scores[:-1]),
        ]
    )
    if not len(starts):
        return samples
    return TieGroups(
        groups[starts],
        scores[starts],
        np.add.reduceat(samples.positives[order], starts),
        np.add.reduceat(samples.negatives[order], starts),
    )


SCORE = "score"
LIST_ID = "list_id"

Batch = Mapping[str, np.ndarray]


class SampleSums:
    """All metrics of every group of a slice, from two passes over the samples.

    Attributes:
      division: the slice.
    """

    def __init__(self, division: Slice, has_lists: bool):
        """Starts with no sample.

        Args:
          division: the slice.
          has_lists: whether samples are candidates of lists; else the samples of a user are one.
        """
        self.division = division
        self._has_lists = has_lists
        self._scores = ScoreSums(len(division.groups))
        self._lists = ListSums(len(division.groups))

    def add_ascending(self, batch: Batch) -> TieGroups:
        """First pass: samples in ascending order of score; see `ScoreSums.add`."""
        members = self.division.members(batch)
        return self._scores.add(
            members.groups, batch[LABEL][members.rows], batch[SCORE][members.rows]
        )

    def end_ascending(self) -> TieGroups:
        """Ends the first pass; see `ScoreSums.finish`."""
        return self._scores.finish()

    def add_users(self, batch: Batch) -> None:
        """Second pass: all samples of some users; equal scores keep the order given."""
        members = self.division.members(batch)
        self._lists.add(
            members.groups,
            batch[USER_ID][members.rows],
            batch[LABEL][members.rows],
            batch[SCORE][members.rows],
            batch[LIST_ID][members.rows] if self._has_lists else None,
        )

    def missing_class(self, group: int) -> str | None:
        """Why a group has no AUC, known after the first pass; None when it has one."""
        samples, positives = self._scores.samples[group], self._scores.positives[group]
        if not samples:
            return "no samples"
        if positives in (0, samples):
            return f"all samples have label {int(positives > 0)}"
        return None

    def metrics(self, group: int) -> dict[str, Any]:
        """Metrics of a group by name, None where one has no value; counts; the `reason` of None.

        `normalised_entropy` is equation 1 of He et al., "Practical Lessons from Predicting Clicks
        on Ads at Facebook" (2014).
        """
        sums, lists = self._scores, self._lists
        n, positives = int(sums.samples[group]), int(sums.positives[group])
        base_rate = positives / n if n else None
        logloss = float(sums.loss_sum[group] / n) if n else None
        mean_score = float(sums.score_sum[group] / n) if n else None
        found: dict[str, Any] = {
            "auc": _known(sums.auc()[group]),
            "logloss": logloss,
            "gauc": _known(lists.gauc()[group]),
            "gauc_mean": _known(lists.gauc_mean()[group]),
            "normalised_entropy": _quotient(logloss, _entropy(base_rate)),
            "calibration_ratio": _quotient(mean_score, base_rate),
            "mean_score": mean_score,
            "base_rate": base_rate,
            **{name: _known(means[group]) for name, means in lists.quality().items()},
            "n": n,
            "users": int(lists.users[group]),
            "users_of_one_class": int(lists.users[group] - lists.judged_users[group]),
        }
        of_lists = "lists" if self._has_lists else "users"
        found[of_lists] = int(lists.lists[group])
        found[f"{of_lists}_without_positive"] = int(lists.lists[group] - lists.judged_lists[group])
        if reason := self._reason(group):
            found["reason"] = reason
        return found

    def _reason(self, group: int) -> str | None:
        no_user = None if self._lists.judged_users[group] else "no user has samples of both classes"
        return self.missing_class(group) or no_user


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _entropy(rate: float | None) -> float:
    """Entropy of a coin in nats: the LogLoss of the base rate as everybody's score."""
    if rate is None or rate in (0, 1):
        return 0.0
    return -rate * math.log(rate) - (1 - rate) * math.log1p(-rate)


def _quotient(numerator: float | None, denominator: float | None) -> float | None:
    return numerator / denominator if numerator is not None and denominator else None


class ListSums:
    """GAUC and the quality of ranked lists, of every group.

    Samples of one user and one group are one list, or those of one list and one group where lists
    are given. What is added comes with all samples of its users and lists.

    Attributes:
      users: int64 [groups], users with a sample in the group.
      judged_users: those with samples of both classes, which have an AUC.
      lists: lists with a sample in the group.
      judged_lists: those with a positive sample, over which means are taken.
    """

    def __init__(self, num_groups: int):
        """Starts with no sample."""
        self.users = np.zeros(num_groups, np.int64)
        self.judged_users = np.zeros(num_groups, np.int64)
        self.lists = np.zeros(num_groups, np.int64)
        self.judged_lists = np.zeros(num_groups, np.int64)
        self._auc_sum = np.zeros(num_groups)
        self._weighted_auc_sum = np.zeros(num_groups)
        self._weights = np.zeros(num_groups, np.int64)
        self._quality_sums: dict[str, np.ndarray] = {}

    def add(
        self,
        groups: np.ndarray,
        users: np.ndarray,
        labels: np.ndarray,
        scores: np.ndarray,
        lists: np.ndarray | None = None,
    ) -> None:
        """Adds samples; equal scores of a list keep the order in which they are given.

        Args:
          groups: int [m].
          users: int [m], a number of the user.
          labels: [m], 0 or 1.
          scores: [m].
          lists: int [m], a number of the list; each is of one user. Users are lists if left out.
        """
        count = len(self.users)
        group_of_user, by_user = _ranked(groups, users, labels, scores, count)
        both = by_user.has_both_classes
        self.users += np.bincount(group_of_user, minlength=count)
        self.judged_users += np.bincount(group_of_user[both], minlength=count)
        aucs, sizes = by_user.auc()[both], by_user.sizes[both]
        self._auc_sum += np.bincount(group_of_user[both], aucs, count)
        self._weighted_auc_sum += np.bincount(group_of_user[both], aucs * sizes, count)
        self._weights += np.bincount(group_of_user[both], sizes, count).astype(np.int64)
        group_of_list, by_list = group_of_user, by_user
        if lists is not None:
            group_of_list, by_list = _ranked(groups, lists, labels, scores, count)
        judged = by_list.positives > 0
        self.lists += np.bincount(group_of_list, minlength=count)
        self.judged_lists += np.bincount(group_of_list[judged], minlength=count)
        for name, values in by_list.quality().items():
            sums = self._quality_sums.setdefault(name, np.zeros(count))
            sums += np.bincount(group_of_list[judged], values[judged], count)

    def gauc(self) -> np.ndarray:
        """Mean of the users' AUCs, weighted by their samples: [groups], NaN without any."""
        return _mean(self._weighted_auc_sum, self._weights)

    def gauc_mean(self) -> np.ndarray:
        """Plain mean of the users' AUCs: [groups], NaN without any."""
        return _mean(self._auc_sum, self.judged_users)

    def quality(self) -> dict[str, np.ndarray]:
        """Means over lists with a positive sample: name -> [groups], NaN without any."""
        return {name: _mean(sums, self.judged_lists) for name, sums in self._quality_sums.items()}


def _ranked(
    groups: np.ndarray,
    lists: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    num_groups: int,
) -> tuple[np.ndarray, RankedLists]:
    """Each list divided by group: the group of every division, and the divisions."""
    divisions, numbers = np.unique(
        lists.astype(np.int64) * num_groups + groups, return_inverse=True
    )
    return divisions % num_groups, RankedLists(numbers, labels, scores)


def _mean(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)


def shuffled_order(rows: np.ndarray) -> np.ndarray:
    """A fixed pseudo-random order of rows by their numbers: int64 [n] -> uint64 [n].

    Samples of a user follow each other in a file as they were made, a positive one before the
    negatives that were sampled for it; equal scores in that order would favour every model. The
    mixing function of SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
    Generators" (2014), figure 16.
    """
    with np.errstate(over="ignore"):
        mixed = rows.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


NO_EXAMPLES = "no examples"


class RankSums:
    """Means of every group of a slice, for ranks that come batch by batch.

    Attributes:
      division: the slice.
    """

    def __init__(self, division: Slice):
        """Starts with no example."""
        self.division = division
        self._examples = np.zeros(len(division.groups), np.int64)
        self._sums: dict[str, np.ndarray] = {}

    def add(self, batch: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> None:
        """Adds examples.

        Args:
          batch: has the column that the slice is made by.
          values: what every example adds, by metric (`trainer.metrics.rank_values`).
        """
        count = len(self._examples)
        members = self.division.members(batch)
        self._examples += np.bincount(members.groups, minlength=count)
        for name, of_examples in values.items():
            sums = self._sums.setdefault(name, np.zeros(count))
            sums += np.bincount(members.groups, of_examples[members.rows], count)

    def metrics(self, group: int) -> dict[str, Any]:
        """Metrics of a group by name, its `n`, and a `reason` where they have no value."""
        n = int(self._examples[group])
        if not n:
            return {**dict.fromkeys(self._sums), "n": 0, "reason": NO_EXAMPLES}
        return {name: float(sums[group] / n) for name, sums in self._sums.items()} | {"n": n}
