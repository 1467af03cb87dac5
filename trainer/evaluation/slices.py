"""Slices: named groups of rows such as rare items, and how a table is divided into them."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from configs.loading import ConfigurationError
from configs.scenario import Scenario
from preprocessing.records.contract import POSITION, PROFILE_PREFIX
from preprocessing.records.layout import WorkDirectory

OTHERS = "(others)"
"""The group of all values that are rarer than those shown."""


def count_groups(bounds: Sequence[int]) -> list[str]:
    """Names of groups of counts: (1, 5) -> "0", "1-4", "5+".

    Args:
      bounds: ascending, from 1: where groups begin, behind the one from 0.
    """
    starts = [0, *bounds]
    names = [
        str(low) if high - low == 1 else f"{low}-{high - 1}"
        for low, high in zip(starts, bounds, strict=False)
    ]
    return [*names, f"{starts[-1]}+"]


def number_groups(
    values: np.ndarray, rows: np.ndarray, num_groups: int
) -> tuple[list[str], list[float]]:
    """Groups of numbers with about as many rows each; equal numbers are never parted.

    Args:
      values: distinct numbers in ascending order.
      rows: int [values], how many rows have each.
      num_groups: at most so many groups.

    Returns:
      Names of the groups, smallest and largest number of each, and the bounds between them.
    """
    if not len(values):
        return [], []
    digits = 7 if values.dtype == np.float32 else 10
    before = np.cumsum(rows) - rows
    group = before * num_groups // rows.sum()
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    ends = np.r_[starts[1:], len(values)] - 1
    names = [
        f"{values[start]:.{digits}g}"
        if start == end
        else f"{values[start]:.{digits}g} to {values[end]:.{digits}g}"
        for start, end in zip(starts, ends, strict=True)
    ]
    return names, [float(values[start]) for start in starts[1:]]


@dataclass(frozen=True)
class ValueGroups:
    """Entities divided by the values that they have.

    Attributes:
      names: of the groups.
      groups_of_entity: the groups of each entity.
    """

    names: list[str]
    groups_of_entity: list[list[int]]


def value_groups(
    values_of_entities: Sequence[Sequence[str]], rows: np.ndarray, largest: int
) -> ValueGroups:
    """One group for each of the values with most rows; then others, and entities without a value.

    Args:
      values_of_entities: the values of every entity.
      rows: int [entities], how many rows each has.
      largest: number of values that have a group of their own.
    """
    counts: dict[str, int] = {}
    for values, count in zip(values_of_entities, rows.tolist(), strict=True):
        for value in set(values):
            counts[value] = counts.get(value, 0) + count
    ranked = sorted((value for value in counts if counts[value]), key=lambda v: (-counts[v], v))
    names = ranked[:largest]
    group_of = {value: group for group, value in enumerate(names)}
    if len(ranked) > largest:
        names = [*names, OTHERS]
    others = len(names) - 1
    missing = len(names)
    groups = [
        sorted({group_of.get(value, others) for value in values if counts[value]}) or [missing]
        for values in values_of_entities
    ]
    return ValueGroups([*names, MISSING], groups)


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
        group_of_row = np.searchsorted(self._bounds, numbers, side="right")
        group_of_row[np.isnan(numbers)] = len(self.groups) - 1
        return Members(np.arange(len(group_of_row)), group_of_row)


class KeySlice(Slice):
    """Groups by an entity, such as the genres of an item: any number of them for each."""

    def __init__(
        self,
        name: str,
        groups: Sequence[str],
        column: str,
        groups_of_entity: Sequence[Sequence[int]],
    ):
        """Says which groups each entity belongs to.

        Args:
          name: of the slice.
          groups: names of the groups.
          column: a key (`ScoreTable.add_key`), the place of the row's entity.
          groups_of_entity: distinct groups for each place, and at the end for entities without one.
        """
        super().__init__(name, groups, column)
        sizes = [len(groups_of_one) for groups_of_one in groups_of_entity]
        self._sizes = np.array(sizes, np.int64)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._groups = np.fromiter(
            (group for groups_of_one in groups_of_entity for group in groups_of_one),
            np.int64,
            sum(sizes),
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


ALL = "all"
USER_ACTIVITY = "user_activity"
ITEM_POPULARITY = "item_popularity"
COLD_USER = "cold_user"
COLD_ITEM = "cold_item"
KNOWLEDGE = "knowledge."
ITEM = "item."
PROFILE = "profile."

SLICES_HELP = """\
slices:
  user_activity        the user's earlier interactions (evaluation.user_activity_bounds)
  item_popularity      the item's training interactions (evaluation.item_popularity_bounds)
  cold_user            cold: fewer than evaluation.cold_user_below earlier interactions; warm
  cold_item            cold: no training interaction; warm
  knowledge.<source>   individual, group or missing: where the item's or user's answer comes from
  item.<attribute>     an attribute of data.catalogue; an item of two genres counts for both
  profile.<attribute>  an attribute of data.profiles"""


def chosen_slices(text: str, scenario: Scenario) -> list[str]:
    """The slices that a user asks for.

    Args:
      text: names joined by commas, or "all".
      scenario: says which there are.

    Raises:
      ConfigurationError: there is no such slice.
    """
    if text == ALL:
        return slice_names(scenario)
    available = [
        *slice_names(scenario),
        *(f"{KNOWLEDGE}{source}" for source in scenario.knowledge.answers),
    ]
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in available:
            close = difflib.get_close_matches(name, available, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise ConfigurationError(
                f"--slices: there is no slice '{name}'; there are "
                f"{', '.join(dict.fromkeys(available))}.{hint}"
            )
    if not names:
        raise ConfigurationError("--slices names no slice; write 'all', or names joined by commas")
    return names


def slice_names(scenario: Scenario) -> list[str]:
    """All slices of a scenario; of knowledge sources those that are in the work directory."""
    directory = WorkDirectory(scenario.work_dir)
    profiles = scenario.data.profiles
    return [
        USER_ACTIVITY,
        ITEM_POPULARITY,
        COLD_USER,
        COLD_ITEM,
        *(
            f"{KNOWLEDGE}{source}"
            for source in scenario.knowledge.answers
            if directory.knowledge(source).manifest.exists()
        ),
        *(f"{ITEM}{attribute}" for attribute in scenario.data.catalogue.attributes),
        *(f"{PROFILE}{attribute}" for attribute in (profiles.attributes if profiles else ())),
    ]


def features_read(names: Sequence[str]) -> list[str]:
    """Features of the examples that slices are made by, beside the ids."""
    features = [POSITION] if {USER_ACTIVITY, COLD_USER} & set(names) else []
    return features + [
        f"{PROFILE_PREFIX}{name.removeprefix(PROFILE)}"
        for name in names
        if name.startswith(PROFILE)
    ]
