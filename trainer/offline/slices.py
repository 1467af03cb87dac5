"""What a slice is: named groups of rows, such as rare, known and popular items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MISSING = "(missing)"
"""The group of rows for which the value is not known."""


@dataclass(frozen=True)
class Members:
    """Which rows belong to which groups.

    Attributes:
      rows: int [m], places in a batch; a row in two groups stands here twice.
      groups: int [m], the group of each.
    """

    rows: np.ndarray
    groups: np.ndarray


class Slice(ABC):
    """A division of rows into groups, which may overlap and leave rows out.

    Attributes:
      name: what people ask for, e.g. "item_popularity".
      groups: names of the groups, in the order in which they are shown.
      column: what the division is made by: a column or key of the table of scores.
    """

    def __init__(self, name: str, groups: Sequence[str], column: str):
        self.name = name
        self.groups = list(groups)
        self.column = column

    @abstractmethod
    def members(self, batch: Mapping[str, np.ndarray]) -> Members:
        """The groups of the rows of a batch, which has the slice's column."""


class NumberSlice(Slice):
    """Groups by a number: each from one bound to just below the next."""

    def __init__(self, name: str, groups: Sequence[str], column: str, bounds: Sequence[float]):
        """Names the groups.

        Args:
          name: of the slice.
          groups: one more than bounds, and behind them one for numbers that are not known, if
            there may be any.
          column: the numbers, NaN where they are not known.
          bounds: ascending; a number that equals one belongs to the group above it.
        """
        super().__init__(name, groups, column)
        self._bounds = np.asarray(bounds, np.float64)

    def members(self, batch: Mapping[str, np.ndarray]) -> Members:
        """The group of every row."""
        numbers = batch[self.column].astype(np.float64)
        found = np.searchsorted(self._bounds, numbers, side="right")
        found[np.isnan(numbers)] = len(self._bounds) + 1
        return Members(np.arange(len(found)), found)


class KeySlice(Slice):
    """Groups by an entity, such as the genres of an item: any number of them for each."""

    def __init__(
        self, name: str, groups: Sequence[str], column: str, of_entity: Sequence[Sequence[int]]
    ):
        """Says which groups each entity belongs to.

        Args:
          name: of the slice.
          groups: names of the groups.
          column: a key (`ScoreTable.add_key`), the place of the row's entity.
          of_entity: for each place, and at the end for entities without one, distinct groups.
        """
        super().__init__(name, groups, column)
        sizes = [len(found) for found in of_entity]
        self._sizes = np.array(sizes, np.int64)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._groups = np.fromiter(
            (group for found in of_entity for group in found), np.int64, sum(sizes)
        )

    def members(self, batch: Mapping[str, np.ndarray]) -> Members:
        """Every group of the entity of every row."""
        entities = batch[self.column]
        sizes = self._sizes[entities]
        rows = np.repeat(np.arange(len(entities)), sizes)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return Members(rows, self._groups[self._starts[entities][rows] + within])


class WholePart(Slice):
    """All rows in one group."""

    def __init__(self) -> None:
        super().__init__("all", ["all"], "")

    def members(self, batch: Mapping[str, np.ndarray]) -> Members:
        """All rows of the batch."""
        count = len(next(iter(batch.values())))
        return Members(np.arange(count), np.zeros(count, np.int64))
