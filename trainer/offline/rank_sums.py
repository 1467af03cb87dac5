"""Metrics of retrieval, summed over the groups of a slice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.offline.slices import Slice

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
          values: what every example adds, by metric (`trainer.retrieval_metrics.rank_values`).
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
