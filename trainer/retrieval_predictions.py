"""Predictions of retrieval models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from trainer.bootstrap import Difference, bootstrap_mean_difference
from trainer.metrics import AnyMetrics
from trainer.predictions import Predictions, are_equal
from trainer.retrieval_metrics import NEW_ITEMS, Ranks, evaluate_ranks

_OF_RANKS = {"rank": "tied", "rank_new_items": "tied_new_items"}
RANK_COLUMNS = (*_OF_RANKS, *_OF_RANKS.values())
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

    def metrics(self) -> AnyMetrics:
        """See `trainer.retrieval_metrics`."""
        return evaluate_ranks(self.among_all, self.among_new)

    def table(self) -> pa.Table:
        """Columns user_id, item_id, rank and rank_new_items, tied and tied_new_items.

        Ranks are counted from 1; items that tie with the chosen one, so many without it, share the
        mean of their ranks.
        """
        ranks = zip(_OF_RANKS.items(), (self.among_all, self.among_new), strict=True)
        columns = {
            name: values
            for (rank, tied), found in ranks
            for name, values in ((rank, found.expected), (tied, found.tied))
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

    def scored_samples(self) -> None:
        """Nothing: examples have a chosen item and no negative ones."""

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


def ranks_of(columns: Mapping[str, np.ndarray]) -> tuple[Ranks, Ranks]:
    """The ranks among all items and among new ones from `RANK_COLUMNS`."""
    among_all, among_new = (
        Ranks((columns[rank] - 1 - columns[tied] / 2).astype(np.int64), columns[tied])
        for rank, tied in _OF_RANKS.items()
    )
    return among_all, among_new
