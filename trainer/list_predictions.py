"""Predictions of re-rankers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from trainer.bootstrap import Difference, bootstrap_mean_difference
from trainer.list_metrics import evaluate_lists, has_positive, list_quality
from trainer.metrics import AnyMetrics
from trainer.predictions import Predictions, are_equal, auc_difference


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

    def metrics(self) -> AnyMetrics:
        """See `trainer.list_metrics`."""
        return evaluate_lists(self.labels, self.scores, self.mask, self.user_ids)

    def table(self) -> pa.Table:
        """Columns list_id, the list's number in the part, user_id, item_id, label and score."""
        lists, places = np.nonzero(self.mask)
        return pa.table(
            {
                "list_id": lists,
                "user_id": self.user_ids[lists],
                "item_id": self.item_ids[lists, places],
                "label": self.labels[lists, places],
                "score": self.scores[lists, places],
            }
        )

    def of_rows(self, chosen: np.ndarray) -> Self:
        """Some of the candidates, bool [candidates]; the others become padding of their lists."""
        kept = self.mask
        kept[kept] = chosen
        return dataclasses.replace(self, item_ids=np.where(kept, self.item_ids, ""))

    def scored_samples(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels and scores of all candidates."""
        mask = self.mask
        return self.labels[mask], self.scores[mask]

    def is_of_same_examples(self, other: Self) -> bool:
        """Whether users, candidates and labels are the same, in the same order."""
        return are_equal(self, other, ("user_ids", "item_ids", "labels"))

    @classmethod
    def differences(
        cls, baseline: Sequence[Self], candidate: Sequence[Self], resamples: int, seed: int
    ) -> dict[str, Difference]:
        """Of the AUC over all candidates, and of the lists' mean NDCG."""
        first = baseline[0]
        mask = first.mask
        auc = auc_difference(
            first.labels[mask],
            np.repeat(first.user_ids, mask.sum(axis=1)),
            [predictions.scores[mask] for predictions in baseline],
            [predictions.scores[mask] for predictions in candidate],
            resamples,
            seed,
        )
        name = cls.selection_metric
        judged = has_positive(first.labels, mask)
        values_a, values_b = (
            np.stack([list_quality(run.labels, run.scores, mask)[name][judged] for run in side])
            for side in (baseline, candidate)
        )
        users = first.user_ids[judged]
        ndcg = bootstrap_mean_difference(users, values_a, values_b, resamples, seed)
        return {"auc": auc, name: ndcg}
