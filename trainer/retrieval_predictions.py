"""Predictions of retrieval models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from trainer.bootstrap import Difference, bootstrap_mean_difference
from trainer.metrics import AnyMetrics
from trainer.predictions import Predictions, are_equal
from trainer.retrieval_metrics import NEW_ITEMS, Ranks, evaluate_ranks


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

    def metrics(self) -> AnyMetrics:
        """See `trainer.retrieval_metrics`."""
        return evaluate_ranks(self.among_all, self.among_new)

    def table(self) -> pa.Table:
        """Columns user_id, item_id, rank and rank_new_items, both counted from 1."""
        return pa.table(
            {
                "user_id": self.user_ids,
                "item_id": self.item_ids,
                "rank": self.among_all.expected,
                "rank_new_items": self.among_new.expected,
            }
        )

    def is_of_same_examples(self, other: Self) -> bool:
        """Whether users and chosen items are the same."""
        return are_equal(self, other, ("user_ids", "item_ids"))

    @classmethod
    def differences(
        cls, baseline: Sequence[Self], candidate: Sequence[Self], resamples: int, seed: int
    ) -> dict[str, Difference]:
        """Of the recall among the first ten items that are new to the user."""
        hits_a, hits_b = (
            np.stack([predictions.among_new.hits(10) for predictions in side])
            for side in (baseline, candidate)
        )
        users = baseline[0].user_ids
        recall = bootstrap_mean_difference(users, hits_a, hits_b, resamples, seed)
        return {cls.selection_metric: recall}
