"""Many lists ranked by score at once: AUC, NDCG, average precision, first hits, all exact.

Lists are rows with a list number each, so that lists of one and of thousands of rows need no
padding. What is a list is for the caller to say: the candidates of a request, or all samples of a
user.
"""

from __future__ import annotations

import numpy as np

CUTOFFS = (1, 3, 5, 7, 10)
"""Every k that is reported; a k beyond the end of a list counts the whole list."""


class RankedLists:
    """Lists with their rows in order of score, best first.

    Attributes:
      sizes: int [lists], rows of each list.
      positives: int [lists], rows with label 1.
    """

    def __init__(
        self,
        lists: np.ndarray,
        labels: np.ndarray,
        scores: np.ndarray,
        num_lists: int = 0,
    ):
        """Ranks the rows; those of a list with equal scores keep the order in which they are given.

        Args:
          lists: int [n], the list of every row, from 0.
          labels: [n], 0 or 1.
          scores: [n], finite.
          num_lists: at least so many lists, for those at the end that have no row.
        """
        order = np.lexsort((-scores, lists))
        self._lists = lists[order]
        self._scores = scores[order]
        self._positive = labels[order] > 0
        self.sizes = np.bincount(self._lists, minlength=num_lists)
        self._starts = np.cumsum(self.sizes) - self.sizes
        hits = np.cumsum(self._positive)
        self._hits = hits - np.r_[0, hits][self._starts][self._lists]
        self.positives = np.bincount(self._lists[self._positive], minlength=len(self.sizes))

    @property
    def has_both_classes(self) -> np.ndarray:
        """Which lists have an AUC: bool [lists]."""
        return (self.positives > 0) & (self.positives < self.sizes)

    def auc(self) -> np.ndarray:
        """AUC of every list, ties half: float64 [lists], NaN where there is one class only."""
        if not len(self._lists):
            return np.full(len(self.sizes), np.nan)
        tie_starts = np.flatnonzero(
            np.r_[True, (np.diff(self._lists) != 0) | (np.diff(self._scores) != 0)]
        )
        lists = self._lists[tie_starts]
        tied = np.diff(np.r_[tie_starts, len(self._lists)])
        positives = np.add.reduceat(self._positive.astype(np.int64), tie_starts)
        negatives = tied - positives
        negatives_of_list = self.sizes - self.positives
        place_after = tie_starts + tied - self._starts[lists]
        hits_after = self._hits[tie_starts + tied - 1]
        below = negatives_of_list[lists] - (place_after - hits_after)
        # Twice the pairs won, so that halves stay whole numbers below 2^53.
        doubled = np.bincount(lists, positives * (2 * below + negatives), len(self.sizes))
        possible = 2.0 * self.positives * negatives_of_list
        return np.divide(doubled, possible, out=np.full(len(possible), np.nan), where=possible > 0)

    def quality(self) -> dict[str, np.ndarray]:
        """Quality of every list, 0 for a list without a positive row.

        For each k of `CUTOFFS`:

        - `ndcg_at_<k>`: gain 2^y - 1, discount 1 / log2(1 + place), over that of the best order.
        - `map_at_<k>`: sum of the precisions at the hits among the first k, over min(k, positives).
        - `map_hits_at_<k>`: the same sum over the number of hits among the first k, which is what
          the authors of REKI report; it does not punish a positive row below place k.
        - `hit_rate_at_<k>`: 1 where a positive row is among the first k.

        And `mrr`, 1 / place of the first positive row.

        Returns:
          Name -> float64 [lists].
        """
        hits = np.flatnonzero(self._positive)
        lists = self._lists[hits]
        places = hits - self._starts[lists] + 1
        number_of_hit = self._hits[hits]
        firsts = number_of_hit == 1
        reciprocal = np.zeros(len(self.sizes))
        reciprocal[lists[firsts]] = 1 / places[firsts]
        gains, precisions = 1 / np.log2(1 + places), number_of_hit / places
        best = np.cumsum(1 / np.log2(1 + np.arange(1, max(CUTOFFS) + 1)))
        by_name: dict[str, list[np.ndarray]] = {"ndcg": [], "map": [], "map_hits": []}
        first_hits = []
        for k in CUTOFFS:
            within = places <= k
            of_list = lists[within]
            gained, precision, found = (
                np.bincount(of_list, values, len(self.sizes))
                for values in (gains[within], precisions[within], None)
            )
            findable = np.minimum(k, self.positives)
            by_name["ndcg"].append(_ratio(gained, best[np.maximum(findable, 1) - 1]))
            by_name["map"].append(_ratio(precision, findable))
            by_name["map_hits"].append(_ratio(precision, found))
            first_hits.append((found > 0).astype(np.float64))
        quality = {
            f"{name}_at_{k}": values
            for name, of_name in by_name.items()
            for k, values in zip(CUTOFFS, of_name, strict=True)
        }
        quality["mrr"] = reciprocal
        for k, values in zip(CUTOFFS, first_hits, strict=True):
            quality[f"hit_rate_at_{k}"] = values
        return quality


def _ratio(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """Quotients, 0 where the denominator is."""
    return np.divide(
        numerators, denominators, out=np.zeros(len(numerators)), where=denominators > 0
    )
