"""Which titles stand for a group: those that are over-represented in it, not the popular ones.

Lift is an item's share of the group's interactions over its share of all. With o interactions of
the item observed in the group, e = n_group n_item / n expected there if the group were like
everybody, and s interactions added to each as smoothing, so that one chance interaction with a rare
item counts for little:

    lift = (o + s) / (e + s)

The interactions of a group of users are what its members liked (or disliked). Those of a group of
items are the likes of its items; each item is in one group only, so o is all its interactions, and
smoothing alone tells its items apart: the better attested ones come first.
"""

from __future__ import annotations

import numpy as np


def smoothed_lift(observed: np.ndarray, expected: np.ndarray, smoothing: float) -> np.ndarray:
    """(observed + smoothing) / (expected + smoothing), element by element."""
    return (observed + smoothing) / (expected + smoothing)


class GroupCounts:
    """Numbers of interactions by group and item; memory grows with the pairs that occur."""

    def __init__(self, groups: int, items: int):
        """Starts with no interactions.

        Args:
          groups: number of groups.
          items: number of items in the catalogue.
        """
        self._groups = groups
        self._items = items
        self._pairs = np.empty(0, dtype=np.int64)
        self._counts = np.empty(0, dtype=np.int64)
        self._overall = np.zeros(items, dtype=np.int64)

    def add(self, groups: np.ndarray, items: np.ndarray) -> None:
        """Counts interactions.

        Args:
          groups: [rows] group, -1 for none; an interaction without group counts overall.
          items: [rows] item.
        """
        self._overall += np.bincount(items, minlength=self._items)
        pairs = (groups * self._items + items)[groups >= 0]
        self._pairs, places = np.unique(np.concatenate([self._pairs, pairs]), return_inverse=True)
        weights = np.concatenate([self._counts, np.ones(len(pairs), dtype=np.int64)])
        # Counts stay far below 2^53, where float64 sums are exact.
        self._counts = np.bincount(places, weights=weights).astype(np.int64)

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Group, item and number of interactions, sorted by group, then item."""
        return self._pairs // self._items, self._pairs % self._items, self._counts

    def ranked(self, target: np.ndarray, smoothing: float) -> list[np.ndarray]:
        """Items of each group: highest lift, then most interactions, then first in the catalogue.

        Args:
          target: [groups] the group into which each is merged, itself for one that stays.
          smoothing: s of the formula.
        """
        group, item, count = self.rows()
        pairs, places = np.unique(target[group] * self._items + item, return_inverse=True)
        observed = np.bincount(places, weights=count, minlength=len(pairs))
        group, item = pairs // self._items, pairs % self._items
        totals = np.bincount(group, weights=observed, minlength=self._groups)
        expected = totals[group] * self._overall[item] / max(1, self._overall.sum())
        lifts = smoothed_lift(observed, expected, smoothing)
        order = np.lexsort((item, -observed, -lifts, group))
        ends = np.searchsorted(group[order], np.arange(self._groups + 1))
        return [
            item[order[start:end]]
            for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
        ]
