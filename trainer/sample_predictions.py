"""Predictions of ranking models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa

from configs.command_line import CommandError
from trainer.bootstrap import Difference
from trainer.metrics import Metrics, evaluate_scores
from trainer.predictions import Predictions, are_equal, auc_difference


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
            "score": self.scores,
        }
        for task, labels in self.task_labels.items():
            columns |= {f"label_{task}": labels, f"score_{task}": self.task_scores[task]}
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

    def scored_samples(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels and scores."""
        return self.labels, self.scores

    def is_of_same_examples(self, other: Self) -> bool:
        """Whether users, items and labels are the same; further tasks do not count."""
        return are_equal(self, other, ("user_ids", "item_ids", "labels"))

    @classmethod
    def differences(
        cls, baseline: Sequence[Self], candidate: Sequence[Self], resamples: int, seed: int
    ) -> dict[str, Difference]:
        """Of the AUC."""
        first = baseline[0]
        auc = auc_difference(
            first.labels,
            first.user_ids,
            [predictions.scores for predictions in baseline],
            [predictions.scores for predictions in candidate],
            resamples,
            seed,
        )
        return {"auc": auc}
