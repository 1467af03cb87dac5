"""Slices of a table of scores, from what the work directory knows about items and users."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa

from configs.scenario import Scenario
from preprocessing.records.contract import (
    INDIVIDUAL,
    ITEM_ID,
    POSITION,
    PROFILE_PREFIX,
    USER_ID,
)
from preprocessing.records.item_attributes import ItemAttributes, read_item_attributes
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.provenance import as_written
from trainer.offline.score_table import ScoreTable
from trainer.offline.slice_names import (
    COLD_ITEM,
    COLD_USER,
    ITEM,
    ITEM_POPULARITY,
    KNOWLEDGE,
    PROFILE,
    USER_ACTIVITY,
)
from trainer.offline.slices import MISSING, KeySlice, NumberSlice, Slice
from trainer.offline.value_groups import count_groups, number_groups, value_groups

ORIGINS = ("individual", "group", "missing")
"""Where the knowledge of an entity comes from."""

_ITEM_KEY = "item_key"


def build_slices(names: Sequence[str], table: ScoreTable, scenario: Scenario) -> list[Slice]:
    """Slices of a table by their names (`chosen_slices`).

    Args:
      names: of the slices.
      table: has `user_id`, `item_id` and the features that the slices read; it gets their keys.
      scenario: names the work directory and the groups' bounds.

    Raises:
      preprocessing.records.errors.DamagedRecords: a file is missing or damaged.
    """
    builder = _Builder(table, scenario)
    return [builder.slice(name) for name in names]


class _Builder:
    def __init__(self, table: ScoreTable, scenario: Scenario):
        self._table = table
        self._scenario = scenario
        self._options = scenario.evaluation

    def slice(self, name: str) -> Slice:
        if name == USER_ACTIVITY:
            bounds = self._options.user_activity_bounds
            return NumberSlice(name, count_groups(bounds), POSITION, bounds)
        if name == COLD_USER:
            return NumberSlice(name, ["cold", "warm"], POSITION, [self._options.cold_user_below])
        if name == ITEM_POPULARITY:
            bounds = self._options.item_popularity_bounds
            return self._by_interactions(name, count_groups(bounds), bounds)
        if name == COLD_ITEM:
            return self._by_interactions(name, ["cold", "warm"], [1])
        if name.startswith(KNOWLEDGE):
            return self._by_origin(name, name.removeprefix(KNOWLEDGE))
        if name.startswith(ITEM):
            return self._by_item_attribute(name, name.removeprefix(ITEM))
        return self._by_profile(name, name.removeprefix(PROFILE))

    def _by_interactions(self, name: str, groups: Sequence[str], bounds: Sequence[int]) -> KeySlice:
        known = self._attributes
        counts = dict(zip(known.item_ids, known.rating_count.tolist(), strict=True))
        of_items = [counts.get(item, 0) for item in self._items]
        found = np.searchsorted(bounds, [*of_items, 0], side="right")
        return KeySlice(name, groups, _ITEM_KEY, found[:, np.newaxis].tolist())

    def _by_origin(self, name: str, source: str) -> KeySlice:
        records = read_knowledge(self._scenario.work_dir, source)
        origin = {
            entity: 0 if extraction == INDIVIDUAL else 1
            for entity, extraction in zip(records.entity_ids, records.extraction, strict=True)
        }
        if self._scenario.knowledge.answers[source].entity == "item":
            missing = len(ORIGINS) - 1
            of_items = [[origin.get(item, missing)] for item in self._items]
            return KeySlice(name, ORIGINS, _ITEM_KEY, [*of_items, [missing]])
        self._table.add_key(name, USER_ID, pa.array(list(origin), pa.string()))
        return KeySlice(name, ORIGINS, name, [[group] for group in (*origin.values(), 2)])

    def _by_item_attribute(self, name: str, attribute: str) -> KeySlice:
        known = self._attributes
        place_of = {item: place for place, item in enumerate(known.item_ids)}
        places = [place_of.get(item) for item in self._items]
        if attribute in known.numeric:
            numbers = known.numeric[attribute]
            values = np.array([np.nan if place is None else numbers[place] for place in places])
            return self._by_item_number(name, values)
        texts = known.categorical[attribute]
        found = value_groups(
            [() if place is None else texts[place] for place in places],
            self._rows_of_items,
            self._options.largest_groups,
        )
        return _of_values(name, found.names, found.of_entity, _ITEM_KEY)

    def _by_item_number(self, name: str, values: np.ndarray) -> KeySlice:
        rows = self._rows_of_items
        distinct, place = np.unique(values[~np.isnan(values)], return_inverse=True)
        weights = np.bincount(place, rows[~np.isnan(values)], len(distinct)).astype(np.int64)
        names, bounds = number_groups(distinct, weights, self._options.number_groups)
        groups = np.searchsorted(bounds, values, side="right")
        groups[np.isnan(values)] = len(names)
        return _of_values(name, [*names, MISSING], groups[:, np.newaxis].tolist(), _ITEM_KEY)

    def _by_profile(self, name: str, attribute: str) -> Slice:
        column = f"{PROFILE_PREFIX}{attribute}"
        found, rows = self._table.counts(column)
        profiles = self._scenario.data.profiles
        assert profiles is not None
        if profiles.attributes[attribute].kind == "numeric":
            values = found.to_numpy(zero_copy_only=False).astype(np.float64)
            known = ~np.isnan(values)
            names, bounds = number_groups(values[known], rows[known], self._options.number_groups)
            return NumberSlice(name, [*names, MISSING], column, bounds)
        divided = value_groups(found.to_pylist(), rows, self._options.largest_groups)
        self._table.add_key(name, column, found)
        return _of_values(name, divided.names, divided.of_entity, name)

    @cached_property
    def _attributes(self) -> ItemAttributes:
        examples = WorkDirectory(self._scenario.work_dir).examples
        return read_item_attributes(as_written(examples.item_attributes))

    @cached_property
    def _items_and_rows(self) -> tuple[list[str], np.ndarray]:
        items, rows = self._table.counts(ITEM_ID)
        self._table.add_key(_ITEM_KEY, ITEM_ID, items)
        return items.to_pylist(), rows

    @property
    def _items(self) -> list[str]:
        return self._items_and_rows[0]

    @property
    def _rows_of_items(self) -> np.ndarray:
        return self._items_and_rows[1]


def _of_values(
    name: str, groups: Sequence[str], of_entity: Sequence[Sequence[int]], key: str
) -> KeySlice:
    """A slice by values of which the last stands for entities without one."""
    return KeySlice(name, groups, key, [*of_entity, [len(groups) - 1]])
