"""Quality of retrieval: where the item that a user chose stands among all items, exactly.

Items with equal scores (new items without attributes share one vector) stand in a random order:
every metric is its expected value over these orders, so ties favour nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CUTOFFS = (1, 5, 10, 50, 100)
NEW_ITEMS = "new_items_"
"""Prefix of metrics for which the other items of the user's history are no candidates."""

_SCORES_IN_MEMORY = 2**24


@dataclass(frozen=True)
class Ranks:
    """Where the positive item of every example stands among the candidates.

    Attributes:
      better: int64 [n], candidates with a higher score.
      tied: int64 [n], other candidates with the same score.
    """

    better: np.ndarray
    tied: np.ndarray

    @property
    def expected(self) -> np.ndarray:
        """Expected rank, counted from 1: [n]."""
        return 1 + self.better + self.tied / 2

    def hits(self, k: int) -> np.ndarray:
        """Probability that the positive item is among the first k: [n]."""
        return np.clip((k - self.better) / (self.tied + 1), 0.0, 1.0)

    def reciprocal(self) -> np.ndarray:
        """Expected 1 / rank: [n]."""
        places = np.arange(1, self._last_place + 1)
        return self._mean_of(1 / places)

    def ndcg(self, k: int) -> np.ndarray:
        """Expected NDCG@k, which is 1 / log2(1 + rank) up to rank k, else 0: [n]."""
        places = np.arange(1, self._last_place + 1)
        return self._mean_of(np.where(places <= k, 1 / np.log2(1 + places), 0.0))

    @property
    def _last_place(self) -> int:
        return int((self.better + self.tied).max(initial=0)) + 1

    def _mean_of(self, by_place: np.ndarray) -> np.ndarray:
        """Mean of a function of the place over the places that the positive item may take."""
        sums = np.concatenate([[0.0], np.cumsum(by_place)])
        return (sums[self.better + self.tied + 1] - sums[self.better]) / (self.tied + 1)


def rank_positives(
    user_vectors: np.ndarray,
    item_vectors: np.ndarray,
    positive_rows: np.ndarray,
    history_rows: np.ndarray,
) -> tuple[Ranks, Ranks]:
    """Ranks by inner product, computed for some examples at a time.

    Args:
      user_vectors: float [n, width].
      item_vectors: float [items, width], of catalogue rows 1 to items.
      positive_rows: int [n], catalogue row of the chosen item, from 1.
      history_rows: int [n, length], catalogue rows of the user's earlier items, 0 for padding.

    Returns:
      Ranks among all items, and ranks among the items that are new to the user: without those of
      the history, but with the chosen item even if the user had it before.
    """
    count = len(user_vectors)
    better, tied, known_better, known_tied = (np.zeros(count, np.int64) for _ in range(4))
    step = max(1, _SCORES_IN_MEMORY // len(item_vectors))
    transposed = np.ascontiguousarray(item_vectors.T)
    for start in range(0, count, step):
        part = slice(start, start + step)
        scores = user_vectors[part] @ transposed
        positives = positive_rows[part, np.newaxis]
        own = np.take_along_axis(scores, positives - 1, axis=1)
        better[part] = np.count_nonzero(scores > own, axis=1)
        tied[part] = np.count_nonzero(scores == own, axis=1) - 1
        known = _without_repeats(history_rows[part])
        counted = (known > 0) & (known != positives)
        known_scores = np.take_along_axis(scores, np.maximum(known - 1, 0), axis=1)
        known_better[part] = np.count_nonzero(counted & (known_scores > own), axis=1)
        known_tied[part] = np.count_nonzero(counted & (known_scores == own), axis=1)
    return Ranks(better, tied), Ranks(better - known_better, tied - known_tied)


def evaluate_ranks(among_all: Ranks, among_new: Ranks) -> dict[str, float]:
    """Metrics of a part's examples, each with one positive item.

    Returns:
      Means of `rank_values`; and `n`, the number of examples.
    """
    values = rank_values(among_all, among_new)
    return {name: float(of_examples.mean()) for name, of_examples in values.items()} | {
        "n": len(among_all.better)
    }


def rank_values(among_all: Ranks, among_new: Ranks) -> dict[str, np.ndarray]:
    """What every example adds to the metrics.

    Returns:
      `recall_at_<k>` (with one positive item the same as the hit rate), `ndcg_at_<k>` and `mrr`,
      which is 1 / rank; then the same after `new_items_`: float64 [n] each.
    """
    values: dict[str, np.ndarray] = {}
    for prefix, ranks in (("", among_all), (NEW_ITEMS, among_new)):
        for k in CUTOFFS:
            values[f"{prefix}recall_at_{k}"] = ranks.hits(k)
        for k in CUTOFFS:
            values[f"{prefix}ndcg_at_{k}"] = ranks.ndcg(k)
        values[f"{prefix}mrr"] = ranks.reciprocal()
    return values


def _without_repeats(rows: np.ndarray) -> np.ndarray:
    """Rows of each line in ascending order, repeated ones replaced by 0."""
    ordered = np.sort(rows, axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = 0
    return ordered
