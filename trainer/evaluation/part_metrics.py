"""All metrics of a part and of its slices, exact, from a table of scores that memory need not hold.

`part_metrics` is what evaluation calls. It reads the table twice: in ascending order of score for
AUC, loss and calibration, and user by user for GAUC and the quality of lists. What single lists and
examples add is computed in `trainer.metrics` and summed in `trainer.metric_sums`, as in training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from configs.command_line import CommandError
from configs.experiment import Evaluation
from preprocessing.records.contract import LABEL, USER_ID
from preprocessing.records.hashing import mixed
from trainer.evaluation.score_table import ROW, ScoreTable
from trainer.evaluation.slices import MISSING, Slice, WholePart
from trainer.metric_sums import ExactSums, GroupMeans, ScoreSums, TieGroups
from trainer.metrics import AUC_OF_CHANCE, RankedLists, rank_values
from trainer.model_kinds import MODEL_KINDS
from trainer.predictions import LIST_ID, RANK_COLUMNS, SCORE, ranks_of
from trainer.significance import (
    FEWEST_USERS,
    bootstrap_auc_difference,
    bootstrap_mean_difference,
)

Metrics = dict[str, Any]
Batch = Mapping[str, np.ndarray]

LARGEST_RESAMPLED = 100_000
"""Samples of a part up to which its slices get intervals: a bootstrap has them all in memory."""


@dataclass(frozen=True)
class PartMetrics:
    """What an evaluation finds.

    Attributes:
      metrics: of the whole part; those of further tasks under `tasks`.
      slices: slice -> group -> metrics, `n`, `share` of the part, whether it is `sparse`, and
        `reason` where a metric is None. Of metrics that are plotted also `<metric>_low` and
        `<metric>_high`, the 95 % interval over users, in parts of at most `LARGEST_RESAMPLED`
        samples and groups of at least `FEWEST_USERS` users.
      reliability: the reliability curve; empty for retrieval.
    """

    metrics: Metrics
    slices: dict[str, dict[str, Metrics]] = field(default_factory=dict)
    reliability: list[ReliabilityBin] = field(default_factory=list)


def part_metrics(
    table: ScoreTable,
    kind: str,
    options: Evaluation,
    slices: Sequence[Slice] = (),
    tasks: Sequence[str] = (),
) -> PartMetrics:
    """Evaluates the scores of one part in constant memory.

    Intervals come from `options.bootstrap_resamples` resamples of users.

    Args:
      table: columns user_id, item_id, label and score, and label_<task> and score_<task>; list_id
        of re-rankers; of retrieval `RANK_COLUMNS`.
      kind: of the examples: ctr, rerank or retrieval.
      options: bins and bounds.
      slices: built over this table.
      tasks: further labels, judged as a whole only.

    Raises:
      CommandError: the samples are of one class.
    """
    divisions = [WholePart(), *slices]
    if not MODEL_KINDS[kind].has_labels:
        ranked = _rank_sums(table, divisions)
        by_slice = _by_slice(ranked[1:], options, table.num_rows)
        _add_intervals(by_slice, table, kind, options, slices)
        return PartMetrics(ranked[0].metrics(0), by_slice)
    sums, curve = _sample_sums(table, divisions, kind, options)
    metrics = _whole_metrics(sums[0], curve)
    if tasks:
        metrics["tasks"] = {task: _task_metrics(table, kind, options, task) for task in tasks}
    by_slice = _by_slice(sums[1:], options, table.num_rows)
    _add_intervals(by_slice, table, kind, options, slices)
    return PartMetrics(metrics, by_slice, curve.bins())


def _rank_sums(table: ScoreTable, divisions: Sequence[Slice]) -> list[RankSums]:
    sums = [RankSums(division) for division in divisions]
    for batch in table.batches([*RANK_COLUMNS, *_columns_of(divisions)]):
        values = rank_values(*ranks_of(batch))
        for division_sums in sums:
            division_sums.add(batch, values)
    return sums


def _sample_sums(
    table: ScoreTable,
    divisions: Sequence[Slice],
    kind: str,
    options: Evaluation,
    suffix: str = "",
) -> tuple[list[SampleSums], ReliabilityCurve]:
    """Both passes over the samples; the first division is the whole part.

    Raises:
      CommandError: the samples are of one class.
    """
    has_lists = MODEL_KINDS[kind].has_lists
    sums = [SampleSums(division, has_lists) for division in divisions]
    curve = ReliabilityCurve(table.num_rows, options.calibration_bins)
    columns = {LABEL: LABEL + suffix, SCORE: SCORE + suffix}
    columns |= {name: name for name in _columns_of(divisions)}
    for batch in table.batches(columns, order_by=[SCORE]):
        ties = [division_sums.add_ascending(batch) for division_sums in sums]
        curve.add(ties[0])
    curve.add([division_sum.end_ascending() for division_sum in sums][0])
    if sums[0].missing_class(0):
        raise CommandError("AUC needs samples of both classes")
    columns |= {USER_ID: USER_ID, ROW: ROW}
    if has_lists:
        columns[LIST_ID] = LIST_ID
    for batch in table.batches(columns, whole=USER_ID):
        # Lists to re-rank are shuffled when they are made; the samples of a user are not.
        tie_order = batch[ROW] if has_lists else shuffled_order(batch[ROW])
        best_first = np.lexsort((tie_order, -batch[SCORE]))
        ranked = {name: values[best_first] for name, values in batch.items()}
        for division_sums in sums:
            division_sums.add_users(ranked)
    return sums, curve


def _whole_metrics(whole: SampleSums, curve: ReliabilityCurve) -> Metrics:
    metrics = whole.metrics(0)
    if metrics["gauc"] is None:
        metrics["gauc"] = AUC_OF_CHANCE
    return {**metrics, "calibration_error": calibration_error(curve.bins())}


def _task_metrics(table: ScoreTable, kind: str, options: Evaluation, task: str) -> Metrics:
    try:
        sums, curve = _sample_sums(table, [WholePart()], kind, options, f"_{task}")
    except CommandError as error:
        raise CommandError(f"task '{task}': {error}") from error
    return _whole_metrics(sums[0], curve)


def _columns_of(divisions: Sequence[Slice]) -> list[str]:
    return list(dict.fromkeys(division.column for division in divisions if division.column))


def _by_slice(
    sums: Sequence[SampleSums] | Sequence[RankSums], options: Evaluation, total: int
) -> dict[str, dict[str, Metrics]]:
    slices: dict[str, dict[str, Metrics]] = {}
    for division_sums in sums:
        division = division_sums.division
        slices[division.name] = {}
        for group, name in enumerate(division.groups):
            metrics = division_sums.metrics(group)
            if name == MISSING and not metrics["n"]:
                continue
            metrics["share"] = metrics["n"] / total
            metrics["sparse"] = metrics["n"] < options.sparse_below
            slices[division.name][name] = metrics
    return slices


def _add_intervals(
    by_slice: Mapping[str, Mapping[str, Metrics]],
    table: ScoreTable,
    kind: str,
    options: Evaluation,
    divisions: Sequence[Slice],
) -> None:
    """Adds the intervals of the plotted metrics to the groups that can have one."""
    if not divisions or table.num_rows > LARGEST_RESAMPLED:
        return
    samples = _in_memory(table, kind, divisions)
    for division in divisions:
        members = division.members(samples)
        for group, name in enumerate(division.groups):
            rows = members.rows[members.groups == group]
            chosen = {column: values[rows] for column, values in samples.items()}
            metrics = by_slice[division.name].get(name, {})
            for metric in MODEL_KINDS[kind].plotted_metrics:
                if metrics.get(metric) is not None:
                    metrics |= _interval(metric, chosen, options)


def _in_memory(table: ScoreTable, kind: str, divisions: Sequence[Slice]) -> Batch:
    """All samples, user by user, those of a user as they are in the file; users are numbers."""
    model_kind = MODEL_KINDS[kind]
    columns = [USER_ID, *([LABEL, SCORE] if model_kind.has_labels else RANK_COLUMNS)]
    columns += [LIST_ID] if model_kind.has_lists else []
    columns += [name for name in _columns_of(divisions) if name not in columns]
    users = 0
    batches = []
    for batch in table.batches(columns, order_by=[ROW], whole=USER_ID):
        # Every batch counts its users from 0.
        batches.append({**batch, USER_ID: batch[USER_ID] + users})
        users += int(batch[USER_ID].max()) + 1
    return {name: np.concatenate([batch[name] for batch in batches]) for name in columns}


def _interval(metric: str, samples: Batch, options: Evaluation) -> dict[str, float]:
    """Ends of the percentile interval over users of a metric that the samples have, by name."""
    users = samples[USER_ID]
    resampling = options.bootstrap_resamples, options.bootstrap_seed
    if metric == "auc":
        values, owners = samples[SCORE], users
    elif LABEL not in samples:
        values, owners = rank_values(*ranks_of(samples))[metric], users
    else:
        _, first, numbers = np.unique(
            users if metric == "gauc" else samples[LIST_ID], return_index=True, return_inverse=True
        )
        lists = RankedLists(numbers, samples[LABEL], samples[SCORE])
        if metric == "gauc":
            judged, weights, values = lists.has_both_classes, lists.sizes, lists.auc()
        else:
            judged, weights = lists.judged, np.ones_like(lists.sizes)
            values = lists.quality()[metric]
        # A value stands as often as it counts in the mean.
        values, owners = (
            np.repeat(column[judged], weights[judged]) for column in (values, users[first])
        )
    if len(np.unique(owners)) < FEWEST_USERS:
        return {}
    nothing = np.zeros([0, len(owners)])
    if metric == "auc":
        interval = bootstrap_auc_difference(
            samples[LABEL], owners, nothing, values[None], *resampling
        )
    else:
        interval = bootstrap_mean_difference(owners, nothing, values[None], *resampling)
    if math.isnan(interval.low):  # no resample had samples of both classes
        return {}
    return {f"{metric}_low": interval.low, f"{metric}_high": interval.high}


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
        self._scores = ExactSums(num_bins)
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
        self._scores.add(bins, ties.scores.astype(np.float64), samples)
        np.minimum.at(self._lowest, bins, ties.scores)
        np.maximum.at(self._highest, bins, ties.scores)
        self._seen += int(samples.sum())

    def bins(self) -> list[ReliabilityBin]:
        """The bins that have samples, in order of score."""
        return [
            ReliabilityBin(
                lowest=float(self._lowest[number]),
                highest=float(self._highest[number]),
                mean_score=self._scores.mean(int(number), int(self._samples[number])),
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
    total = sum(each.n for each in bins)
    return sum(each.n * abs(each.mean_score - each.share_positive) for each in bins) / total


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
        pairs = self._scores.pairs
        samples, positives = pairs.samples[group], pairs.positives[group]
        if not samples:
            return "no samples"
        if positives in (0, samples):
            return f"all samples have label {int(positives > 0)}"
        return None

    def metrics(self, group: int) -> Metrics:
        """Metrics of a group by name, None where one has no value; counts; the `reason` of None.

        `normalised_entropy` is equation 1 of He et al., "Practical Lessons from Predicting Clicks
        on Ads at Facebook" (2014).
        """
        pairs, lists = self._scores.pairs, self._lists
        n, positives = int(pairs.samples[group]), int(pairs.positives[group])
        base_rate = positives / n if n else None
        logloss = self._scores.logloss(group) if n else None
        mean_score = self._scores.mean_score(group) if n else None
        metrics: Metrics = {
            "auc": None if self.missing_class(group) else float(pairs.auc()[group]),
            "logloss": logloss,
            **lists.gauc(group),
            "normalised_entropy": _quotient(logloss, _entropy(base_rate)),
            "calibration_ratio": _quotient(mean_score, base_rate),
            "mean_score": mean_score,
            "base_rate": base_rate,
            **lists.quality(group),
            "n": n,
            "users": int(lists.users[group]),
            "users_of_one_class": int(lists.users[group] - lists.judged_users[group]),
        }
        list_word = "lists" if self._has_lists else "users"
        num_lists = int(lists.lists[group])
        metrics[list_word] = num_lists
        metrics[f"{list_word}_without_positive"] = num_lists - int(lists.judged_lists[group])
        if reason := self._reason(group):
            metrics["reason"] = reason
        return metrics

    def _reason(self, group: int) -> str | None:
        no_user = None if self._lists.judged_users[group] else "no user has samples of both classes"
        return self.missing_class(group) or no_user


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
      lists: int64 [groups], lists with a sample in the group.
    """

    def __init__(self, num_groups: int):
        """Starts with no sample."""
        self.users = np.zeros(num_groups, np.int64)
        self.lists = np.zeros(num_groups, np.int64)
        self._gauc = GroupMeans(num_groups)
        self._gauc_mean = GroupMeans(num_groups)
        self._quality = GroupMeans(num_groups)

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
        group_of_user, user_rankings = _ranked(groups, users, labels, scores, count)
        both = user_rankings.has_both_classes
        self.users += np.bincount(group_of_user, minlength=count)
        aucs = user_rankings.auc()[both]
        self._gauc.add(group_of_user[both], {"gauc": aucs}, user_rankings.sizes[both])
        self._gauc_mean.add(group_of_user[both], {"gauc_mean": aucs})
        group_of_list, list_rankings = group_of_user, user_rankings
        if lists is not None:
            group_of_list, list_rankings = _ranked(groups, lists, labels, scores, count)
        judged = list_rankings.judged
        self.lists += np.bincount(group_of_list, minlength=count)
        quality = {name: values[judged] for name, values in list_rankings.quality().items()}
        self._quality.add(group_of_list[judged], quality)

    @property
    def judged_users(self) -> np.ndarray:
        """Users with samples of both classes, which have an AUC: int64 [groups]."""
        return self._gauc_mean.weights

    @property
    def judged_lists(self) -> np.ndarray:
        """Lists with a positive sample, over which means are taken: int64 [groups]."""
        return self._quality.weights

    def gauc(self, group: int) -> dict[str, float | None]:
        """`gauc`, the mean of the users' AUCs weighted by their samples, and plain `gauc_mean`."""
        return self._gauc.means(group) | self._gauc_mean.means(group)

    def quality(self, group: int) -> dict[str, float | None]:
        """Means over lists with a positive sample, by name."""
        return self._quality.means(group)


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


def shuffled_order(rows: np.ndarray) -> np.ndarray:
    """A fixed pseudo-random order of rows by their numbers: int64 [n] -> uint64 [n].

    Samples of a user follow each other in a file as they were made, a positive one before the
    negatives that were sampled for it; equal scores in that order would favour every model.
    """
    return mixed(rows.astype(np.uint64))


NO_EXAMPLES = "no examples"


class RankSums:
    """Means of every group of a slice, for ranks that come batch by batch.

    Attributes:
      division: the slice.
    """

    def __init__(self, division: Slice):
        """Starts with no example."""
        self.division = division
        self._means = GroupMeans(len(division.groups))

    def add(self, batch: Batch, values: Mapping[str, np.ndarray]) -> None:
        """Adds examples.

        Args:
          batch: has the column that the slice is made by.
          values: what every example adds, by metric (`trainer.metrics.rank_values`).
        """
        members = self.division.members(batch)
        added = {name: example_values[members.rows] for name, example_values in values.items()}
        self._means.add(members.groups, added)

    def metrics(self, group: int) -> Metrics:
        """Metrics of a group by name, its `n`, and a `reason` where they have no value."""
        n = int(self._means.weights[group])
        return {**self._means.means(group), "n": n, **({} if n else {"reason": NO_EXAMPLES})}
