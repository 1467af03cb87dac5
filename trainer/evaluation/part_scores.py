"""Scores of a part, batch by batch, and their division into slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.scenario import Scenario
from preprocessing.records.contract import (
    INDIVIDUAL,
    ITEM_ID,
    POSITION,
    PROFILE_PREFIX,
    USER_ID,
    Feature,
    FeatureType,
    features_of,
)
from preprocessing.records.item_tables import ItemAttributes, read_item_attributes
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset
from preprocessing.records.provenance import as_written
from trainer.evaluation.score_table import ROW, ScoreTable
from trainer.evaluation.slices import (
    COLD_ITEM,
    COLD_USER,
    ITEM,
    ITEM_POPULARITY,
    KNOWLEDGE,
    MISSING,
    PROFILE,
    USER_ACTIVITY,
    KeySlice,
    NumberSlice,
    Slice,
    count_groups,
    features_read,
    number_groups,
    value_groups,
)
from trainer.predictions import LIST_ID, ListPredictions, Predictions

_READ_BATCH = 8192


class ExampleFeatureReader:
    """Reads features of examples, in any steps, beside whoever else reads the same files."""

    def __init__(self, files: Sequence[str | Path], features: Sequence[Feature]):
        """Names the files.

        Args:
          files: GZIP TFRecord files.
          features: single numbers, lists of texts, and lists of at most one number.
        """
        self._features = features
        self._read = self._tables(files)
        self._left: list[pa.Table] = []

    def take(self, count: int) -> pa.Table:
        """The next examples.

        Returns:
          A column for each feature: numbers, null where they are not known, and lists of texts.
        """
        while sum(table.num_rows for table in self._left) < count:
            self._left.append(next(self._read))
        joined = pa.concat_tables(self._left)
        self._left = [joined.slice(count)]
        return joined.slice(0, count)

    def _tables(self, files: Sequence[str | Path]) -> Iterator[pa.Table]:
        for parsed in example_dataset(files, _READ_BATCH, self._features):
            yield pa.table(
                {
                    feature.name: _column(parsed[feature.name].numpy(), feature)
                    for feature in self._features
                }
            )


def _column(values: np.ndarray, feature: Feature) -> pa.Array:
    if not feature.is_list:
        return pa.array(values)
    if feature.type is FeatureType.FLOAT:
        unknown = np.full([len(values), 1], np.nan, np.float32)
        first = np.concatenate([values, unknown], axis=1)[:, 0]
        return pa.array(first, from_pandas=True)
    is_known = values != b""
    ends = np.cumsum(is_known.sum(axis=1))
    texts = pa.array(values[is_known], pa.binary()).cast(pa.string())
    return pa.ListArray.from_arrays(np.r_[0, ends].astype(np.int32), texts)


@dataclass(frozen=True)
class PartScores:
    """What a model says about a part.

    Attributes:
      scenario: names the data.
      part: train, validation or test.
      kind: of the model and its examples: ctr, rerank or retrieval.
      tasks: further labels that it scores.
      predictions: some examples at a time, in the order of the files; they can be read once.
    """

    scenario: Scenario
    part: str
    kind: str
    tasks: Sequence[str]
    predictions: Iterable[Predictions]

    def tables(self, features: Sequence[str] = ()) -> Iterator[pa.Table]:
        """Predictions as tables that can stand below each other.

        Args:
          features: names of features of the examples that become columns too.
        """
        columns = self._example_columns(features) if features else None
        first_list = 0
        for predictions in self.predictions:
            table, examples = predictions.table(), len(predictions.user_ids)
            example_of_row = np.arange(table.num_rows)
            if isinstance(predictions, ListPredictions):
                lists = table[LIST_ID]
                column_index = table.schema.get_field_index(LIST_ID)
                table = table.set_column(column_index, LIST_ID, pc.add(lists, first_list))
                example_of_row = lists.to_numpy()
                first_list += examples
            if columns is not None:
                features_of_rows = columns.take(examples).take(example_of_row)
                for name in features_of_rows.column_names:
                    table = table.append_column(name, features_of_rows[name])
            yield table

    def _example_columns(self, names: Sequence[str]) -> ExampleFeatureReader:
        features = {feature.name: feature for feature in features_of(self.kind, self.scenario.data)}
        files = WorkDirectory(self.scenario.work_dir).examples.shards(self.part, self.kind)
        return ExampleFeatureReader(files, [features[name] for name in names])


def divided_rows(scores: PartScores, slices: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Divides the rows of a part.

    Args:
      scores: predictions of the whole part in one piece.
      slices: names of slices (`trainer.evaluation.slices.chosen_slices`).

    Returns:
      Slice -> group -> bool [rows of the predictions' table].

    Raises:
      preprocessing.records.contract.DamagedRecords: a file is missing or damaged.
    """
    (part,) = scores.tables(features_read(slices))
    options = scores.scenario.evaluation
    with ScoreTable(part, options.memory_megabytes, options.threads) as table:
        divisions = build_slices(slices, table, scores.scenario)
        masks = [np.zeros([len(division.groups), table.num_rows], bool) for division in divisions]
        columns = dict.fromkeys([ROW, *(division.column for division in divisions)])
        for batch in table.batches(list(columns)):
            for division, mask in zip(divisions, masks, strict=True):
                members = division.members(batch)
                mask[members.groups, batch[ROW][members.rows]] = True
    return {
        division.name: {
            group: rows
            for group, rows in zip(division.groups, mask, strict=True)
            if group != MISSING or rows.any()
        }
        for division, mask in zip(divisions, masks, strict=True)
    }


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
      preprocessing.records.contract.DamagedRecords: a file is missing or damaged.
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
        attributes = self._attributes
        counts = dict(zip(attributes.item_ids, attributes.rating_count.tolist(), strict=True))
        item_counts = [counts.get(item, 0) for item in self._items]
        group_of_item = np.searchsorted(bounds, [*item_counts, 0], side="right")
        return KeySlice(name, groups, _ITEM_KEY, group_of_item[:, np.newaxis].tolist())

    def _by_origin(self, name: str, source: str) -> KeySlice:
        records = read_knowledge(self._scenario.work_dir, source)
        origin = {
            entity: 0 if extraction == INDIVIDUAL else 1
            for entity, extraction in zip(records.entity_ids, records.extraction, strict=True)
        }
        if self._scenario.knowledge.answers[source].entity == "item":
            missing = len(ORIGINS) - 1
            item_origins = [[origin.get(item, missing)] for item in self._items]
            return KeySlice(name, ORIGINS, _ITEM_KEY, [*item_origins, [missing]])
        self._table.add_key(name, USER_ID, pa.array(list(origin), pa.string()))
        return KeySlice(name, ORIGINS, name, [[group] for group in (*origin.values(), 2)])

    def _by_item_attribute(self, name: str, attribute: str) -> KeySlice:
        attributes = self._attributes
        index_of = {item: index for index, item in enumerate(attributes.item_ids)}
        places = [index_of.get(item) for item in self._items]
        if attribute in attributes.numeric:
            numbers = attributes.numeric[attribute]
            values = np.array([np.nan if index is None else numbers[index] for index in places])
            return self._by_item_number(name, values)
        texts = attributes.categorical[attribute]
        value_groups_of_items = value_groups(
            [() if index is None else texts[index] for index in places],
            self._rows_of_items,
            self._options.largest_groups,
        )
        return _value_slice(
            name, value_groups_of_items.names, value_groups_of_items.groups_of_entity, _ITEM_KEY
        )

    def _by_item_number(self, name: str, values: np.ndarray) -> KeySlice:
        rows = self._rows_of_items
        distinct, value_index = np.unique(values[~np.isnan(values)], return_inverse=True)
        weights = np.bincount(value_index, rows[~np.isnan(values)], len(distinct)).astype(np.int64)
        names, bounds = number_groups(distinct, weights, self._options.number_groups)
        groups = np.searchsorted(bounds, values, side="right")
        groups[np.isnan(values)] = len(names)
        return _value_slice(name, [*names, MISSING], groups[:, np.newaxis].tolist(), _ITEM_KEY)

    def _by_profile(self, name: str, attribute: str) -> Slice:
        column = f"{PROFILE_PREFIX}{attribute}"
        profile_values, rows = self._table.counts(column)
        profiles = self._scenario.data.profiles
        assert profiles is not None
        if profiles.attributes[attribute].kind == "numeric":
            values = profile_values.to_numpy(zero_copy_only=False)
            is_known = ~np.isnan(values)
            names, bounds = number_groups(
                values[is_known], rows[is_known], self._options.number_groups
            )
            return NumberSlice(name, [*names, MISSING], column, bounds)
        divided = value_groups(profile_values.to_pylist(), rows, self._options.largest_groups)
        self._table.add_key(name, column, profile_values)
        return _value_slice(name, divided.names, divided.groups_of_entity, name)

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


def _value_slice(
    name: str, groups: Sequence[str], groups_of_entity: Sequence[Sequence[int]], key: str
) -> KeySlice:
    """A slice by values of which the last stands for entities without one."""
    return KeySlice(name, groups, key, [*groups_of_entity, [len(groups) - 1]])
