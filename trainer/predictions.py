"""What models of every kind say about a part of the data, as tables."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
from typing_extensions import override

from configs.command_line import CommandError
from trainer.metrics import (
    NEW_ITEMS,
    AnyMetrics,
    Metrics,
    RankedLists,
    Ranks,
    evaluate_lists,
    evaluate_ranks,
    evaluate_scores,
)
from trainer.significance import Difference, bootstrap_auc_difference, bootstrap_mean_difference

SCORE = "score"
LIST_ID = "list_id"
"""Columns of `Predictions.table` beside those of examples."""


@dataclass(frozen=True)
class PerExampleMetric:
    """A metric of one model from what it says about every example, for resampling.

    Attributes:
      user_ids: [n].
      values: [n], whose mean is the metric, or scores whose AUC it is.
      labels: [n], 0 or 1, of an AUC; None of a mean.
    """

    user_ids: np.ndarray
    values: np.ndarray
    labels: np.ndarray | None = None


def measured_difference(
    baseline: Sequence[PerExampleMetric],
    candidate: Sequence[PerExampleMetric],
    resamples: int,
    seed: int,
    paired_runs: bool = False,
) -> Difference:
    """Paired difference of one metric between the means over runs.

    Args:
      baseline: of each run of one side; without any, the difference is the candidate's mean.
      candidate: of the other side, on the same examples.
      resamples: of the bootstrap over users.
      seed: of the bootstrap.
      paired_runs: see `bootstrap_auc_difference`.
    """
    first = candidate[0]
    values = np.stack([run.values for run in (*baseline, *candidate)])
    sides = values[: len(baseline)], values[len(baseline) :]
    if first.labels is None:
        return bootstrap_mean_difference(first.user_ids, *sides, resamples, seed, paired_runs)
    return bootstrap_auc_difference(
        first.labels, first.user_ids, *sides, resamples, seed, paired_runs
    )


class Predictions(ABC):
    """What all kinds of predictions of a part offer.

    Attributes:
      selection_metric: by which the best epoch is chosen on the validation part.
      examples_name: what people call the n of the metrics.
      user_ids: one string per example.
      item_ids: strings, [n]; of lists [lists, length], "" for padding.
    """

    selection_metric: ClassVar[str]
    examples_name: ClassVar[str]
    user_ids: np.ndarray
    item_ids: np.ndarray

    @property
    @abstractmethod
    def count(self) -> int:
        """The n of the metrics."""

    @abstractmethod
    def metrics(self) -> AnyMetrics:
        """All metrics of the part."""

    @abstractmethod
    def table(self) -> pa.Table:
        """One row per candidate, or per example of retrieval."""

    @abstractmethod
    def of_rows(self, chosen: np.ndarray) -> Self:
        """The same predictions of some rows of `table` only, bool [rows]."""

    @abstractmethod
    def measures(self) -> dict[str, PerExampleMetric]:
        """The metrics that models are compared by, in the order in which they are shown.

        That of `selection_metric` is among them; `auc` is of all samples or candidates.
        """

    @abstractmethod
    def is_of_same_examples(self, other: Self) -> bool:
        """Whether two models were asked the same."""


def compare_predictions(
    baseline: Sequence[Predictions],
    candidate: Sequence[Predictions],
    resamples: int,
    seed: int,
    paired_runs: bool = False,
) -> dict[str, Difference]:
    """Paired comparison of two models, each with one or several seeds, on the same examples.

    Args:
      baseline: predictions of each run of one side.
      candidate: of the other side.
      resamples: of the bootstrap.
      seed: of the bootstrap.
      paired_runs: see `bootstrap_auc_difference`.

    Returns:
      Metric -> difference, the main metric first: `auc` of ranking models, `auc` and `ndcg_at_10`
      of re-rankers, `new_items_recall_at_10` of retrieval.

    Raises:
      CommandError: the predictions are of different kinds of models, or not of the same examples.
    """
    require_same_examples([*baseline, *candidate])
    before, after = ([run.measures() for run in side] for side in (baseline, candidate))
    return measured_differences(before, after, resamples, seed, paired_runs)


def measured_differences(
    baseline: Sequence[Mapping[str, PerExampleMetric]],
    candidate: Sequence[Mapping[str, PerExampleMetric]],
    resamples: int,
    seed: int,
    paired_runs: bool = False,
) -> dict[str, Difference]:
    """`compare_predictions` from the measures of all runs.

    Raises:
      CommandError: the samples of an AUC are of one class.
    """
    for first in baseline[0].values():
        labels = first.labels
        if labels is not None and (len(labels) == 0 or labels.min() == labels.max()):
            raise CommandError("AUC needs samples of both classes; this part has one class only")
    return {
        name: measured_difference(
            [run[name] for run in baseline],
            [run[name] for run in candidate],
            resamples,
            seed,
            paired_runs,
        )
        for name in baseline[0]
    }


def require_same_examples(runs: Sequence[Predictions]) -> None:
    """Makes sure that predictions can be compared.

    Raises:
      CommandError: they are of different kinds of models, or not of the same examples.
    """
    first = runs[0]
    for other in runs:
        if type(other) is not type(first):
            raise CommandError(
                "the runs are of different kinds of models (ranking, re-ranking, retrieval), "
                "which have no metric on the same examples; compare runs of one kind"
            )
        if not first.is_of_same_examples(other):
            raise CommandError(
                f"the runs were evaluated on different {first.examples_name}; "
                "compare runs of one work directory and split"
            )


def are_equal(first: object, second: object, names: Sequence[str]) -> bool:
    """Whether two predictions have the same arrays of these names."""
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


@dataclass(frozen=True)
class SamplePredictions(Predictions):
    """Scores of a ranking model.

    Attributes:
      user_ids: [n] strings.
      item_ids: [n] strings.
      labels: [n], 0 or 1.
      scores: [n], probabilities.
      task_labels: further task -> [n], 0 or 1.
      task_scores: further task -> [n], probabilities.
    """

    user_ids: np.ndarray
    item_ids: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    task_labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    task_scores: Mapping[str, np.ndarray] = field(default_factory=dict)

    selection_metric = "auc"
    examples_name = "samples"

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def metrics(self) -> Metrics:
        """AUC, LogLoss, GAUC and the number of samples, of the label and of every task."""
        metrics = evaluate_scores(self.labels, self.scores, self.user_ids)
        if self.task_labels:
            metrics["tasks"] = {task: self._task_metrics(task) for task in self.task_labels}
        return metrics

    def _task_metrics(self, task: str) -> Metrics:
        try:
            return evaluate_scores(self.task_labels[task], self.task_scores[task], self.user_ids)
        except CommandError as error:
            raise CommandError(f"task '{task}': {error}") from error

    def table(self) -> pa.Table:
        """Columns user_id, item_id, label and score; label_<task> and score_<task>."""
        columns = {
            "user_id": self.user_ids,
            "item_id": self.item_ids,
            "label": self.labels,
            SCORE: self.scores,
        }
        for task, labels in self.task_labels.items():
            columns |= {f"label_{task}": labels, f"{SCORE}_{task}": self.task_scores[task]}
        return pa.table(columns)

    def of_rows(self, chosen: np.ndarray) -> Self:
        """Some of the samples: bool [n]."""
        return dataclasses.replace(
            self,
            user_ids=self.user_ids[chosen],
            item_ids=self.item_ids[chosen],
            labels=self.labels[chosen],
            scores=self.scores[chosen],
            task_labels={task: values[chosen] for task, values in self.task_labels.items()},
            task_scores={task: values[chosen] for task, values in self.task_scores.items()},
        )

    def measures(self) -> dict[str, PerExampleMetric]:
        """The AUC."""
        return {"auc": PerExampleMetric(self.user_ids, self.scores, self.labels)}

    def is_of_same_examples(self, other: Self) -> bool:
        """Whether users, items and labels are the same; further tasks do not count."""
        return are_equal(self, other, ("user_ids", "item_ids", "labels"))


@dataclass(frozen=True)
class ListPredictions(Predictions):
    """Scores of a re-ranker.

    Attributes:
      user_ids: [lists] strings.
      item_ids: [lists, length] strings, "" for padding.
      labels: [lists, length], 0 or 1.
      scores: [lists, length], probabilities.
    """

    user_ids: np.ndarray
    item_ids: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    selection_metric = "ndcg_at_10"
    examples_name = "candidates"

    @property
    def count(self) -> int:
        """Number of candidates of all lists."""
        return int(self.mask.sum())

    @property
    def mask(self) -> np.ndarray:
        """True for candidates, False for padding: [lists, length]."""
        return self.item_ids != ""

    @override
    def metrics(self) -> AnyMetrics:
        lists, mask = self._lists, self.mask
        return evaluate_lists(
            lists, self.labels[mask], self.scores[mask], self.user_ids[lists], len(self.user_ids)
        )

    @property
    def _lists(self) -> np.ndarray:
        """The list of every candidate: int [candidates]."""
        return np.nonzero(self.mask)[0]

    def table(self) -> pa.Table:
        """Columns list_id, the list's number in the part, user_id, item_id, label and score."""
        lists, places = np.nonzero(self.mask)
        return pa.table(
            {
                LIST_ID: lists,
                "user_id": self.user_ids[lists],
                "item_id": self.item_ids[lists, places],
                "label": self.labels[lists, places],
                SCORE: self.scores[lists, places],
            }
        )

    def of_rows(self, chosen: np.ndarray) -> Self:
        """Some of the candidates, bool [candidates]; the others become padding of their lists."""
        kept = self.mask
        kept[kept] = chosen
        return dataclasses.replace(self, item_ids=np.where(kept, self.item_ids, ""))

    def measures(self) -> dict[str, PerExampleMetric]:
        """The AUC over all candidates, and the NDCG of the lists with a positive candidate."""
        lists, labels, scores = self._lists, self.labels[self.mask], self.scores[self.mask]
        ranked = RankedLists(lists, labels, scores, len(self.user_ids))
        ndcg = ranked.quality()[self.selection_metric][ranked.judged]
        return {
            "auc": PerExampleMetric(self.user_ids[lists], scores, labels),
            self.selection_metric: PerExampleMetric(self.user_ids[ranked.judged], ndcg),
        }

    def is_of_same_examples(self, other: Self) -> bool:
        """Whether users, candidates and labels are the same, in the same order."""
        return are_equal(self, other, ("user_ids", "item_ids", "labels"))


_TIED_COLUMNS = {"rank": "tied", "rank_new_items": "tied_new_items"}
RANK_COLUMNS = (*_TIED_COLUMNS, *_TIED_COLUMNS.values())
"""Columns of `RetrievalPredictions.table` from which its ranks can be had back."""


@dataclass(frozen=True)
class RetrievalPredictions(Predictions):
    """Where a retrieval model puts the items that users chose.

    Attributes:
      user_ids: [n] strings.
      item_ids: [n] strings, the chosen items.
      among_all: their ranks among all items of the catalogue.
      among_new: their ranks without the other items of the users' histories.
    """

    user_ids: np.ndarray
    item_ids: np.ndarray
    among_all: Ranks
    among_new: Ranks

    selection_metric = f"{NEW_ITEMS}recall_at_10"
    examples_name = "examples"

    @property
    def count(self) -> int:
        """Number of examples."""
        return len(self.user_ids)

    @override
    def metrics(self) -> AnyMetrics:
        return evaluate_ranks(self.among_all, self.among_new)

    def table(self) -> pa.Table:
        """Columns user_id, item_id, rank and rank_new_items, tied and tied_new_items.

        Ranks are counted from 1; items that tie with the chosen one, so many without it, share the
        mean of their ranks.
        """
        ranks = zip(_TIED_COLUMNS.items(), (self.among_all, self.among_new), strict=True)
        columns = {
            name: values
            for (rank, tied), score in ranks
            for name, values in ((rank, score.expected), (tied, score.tied))
        }
        named = {name: columns[name] for name in RANK_COLUMNS}
        return pa.table({"user_id": self.user_ids, "item_id": self.item_ids, **named})

    def of_rows(self, chosen: np.ndarray) -> Self:
        """Some of the examples: bool [n]."""
        among_all, among_new = (
            Ranks(ranks.better[chosen], ranks.tied[chosen])
            for ranks in (self.among_all, self.among_new)
        )
        return dataclasses.replace(
            self,
            user_ids=self.user_ids[chosen],
            item_ids=self.item_ids[chosen],
            among_all=among_all,
            among_new=among_new,
        )

    def measures(self) -> dict[str, PerExampleMetric]:
        """The recall among the first ten items that are new to the user."""
        return {self.selection_metric: PerExampleMetric(self.user_ids, self.among_new.hits(10))}

    def is_of_same_examples(self, other: Self) -> bool:
        """Whether users and chosen items are the same."""
        return are_equal(self, other, ("user_ids", "item_ids"))


def ranks_of(columns: Mapping[str, np.ndarray]) -> tuple[Ranks, Ranks]:
    """The ranks among all items and among new ones from `RANK_COLUMNS`."""
    among_all, among_new = (
        Ranks((columns[rank] - 1 - columns[tied] / 2).astype(np.int64), columns[tied])
        for rank, tied in _TIED_COLUMNS.items()
    )
    return among_all, among_new
