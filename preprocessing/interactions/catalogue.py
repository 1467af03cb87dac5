"""Catalogue and profiles: attributes of items and users as columns of the record contract."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.data import Attribute, CatalogueTable, Profiles
from configs.loading import ConfigurationError
from preprocessing.dead_letters import DeadLetter, DeadLetterRuns
from preprocessing.interactions.reading import PLACE, USER, first_rows
from preprocessing.records import item_tables
from preprocessing.records.contract import USER_ID, profile_feature
from preprocessing.records.item_tables import CATEGORICAL, NUMERIC
from preprocessing.records.wire import (
    BytesSequence,
    Column,
    FloatSequence,
    RaggedBytesColumn,
    RaggedFloatColumn,
)
from preprocessing.tables.blocks import ParsedBlock, WantedColumns
from preprocessing.tables.ids import breaks_line, usable_ids
from preprocessing.tables.table_reader import TableReader, open_table
from preprocessing.tables.values import is_blank, lists_from_rows, lists_of, numbers_of, texts_of

_SET_FLAGS = ("1", "1.0", "true")


def attribute_columns(attributes: Mapping[str, Attribute], key: str) -> dict[str, str]:
    """Configuration key -> mapped column of a table.

    Args:
      attributes: by name.
      key: configuration key of the attributes, e.g. "data.catalogue.attributes".
    """
    columns = {}
    for name, attribute in attributes.items():
        for number, flag in enumerate(attribute.flags):
            columns[f"{key}.{name}.flags[{number}]"] = flag
        if not attribute.flags:
            columns[f"{key}.{name}.column"] = attribute.column or name
    return columns


def attribute_types(attributes: Mapping[str, Attribute]) -> dict[str, pa.DataType]:
    """Type of each attribute's values: lists of texts, or float64."""
    return {
        name: CATEGORICAL if attribute.kind == "categorical" else NUMERIC
        for name, attribute in attributes.items()
    }


def parse_attribute(table: pa.Table, name: str, attribute: Attribute) -> pa.ChunkedArray:
    """Values of an attribute.

    Args:
      table: records with the mapped columns.
      name: of the attribute.
      attribute: what it is made from.

    Returns:
      Lists of categories, each once, none for a missing value; or numbers, null for a missing one
      and NaN for a text that is no finite number, see `take_out_unreadable`.
    """
    if attribute.flags:
        lists = _lists_of_flags(table, attribute.flags)
        return _changed_values(lists, lambda value: attribute.values.get(value, value))
    column = table[attribute.column or name]
    if attribute.kind == "numeric":
        return _numbers(column, attribute.pattern)
    lists = _on_one_line(lists_of(column, attribute.separator))
    if not attribute.pattern and not attribute.values:
        return lists
    shorten = _first_group(attribute.pattern)

    def readable(value: str) -> str:
        short = shorten(value).strip()
        return attribute.values.get(short, short)

    return _changed_values(lists, readable)


def take_out_unreadable(
    table: pa.Table, attributes: Mapping[str, Attribute]
) -> tuple[pa.Table, dict[str, int]]:
    """Makes unreadable numbers missing ones.

    Args:
      table: has a column of each attribute, from `parse_attribute`.
      attributes: by name.

    Returns:
      The table, and for each numeric attribute how many values neither were empty nor a number.
    """
    unreadable = {}
    for name, attribute in attributes.items():
        if attribute.kind == "numeric":
            numbers = table[name]
            bad = pc.is_nan(numbers)
            unreadable[name] = pc.sum(pc.cast(bad, pa.int64())).as_py() or 0
            index = table.column_names.index(name)
            table = table.set_column(index, name, pc.if_else(bad, None, numbers))
    return table, unreadable


def _on_one_line(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    """Lists whose texts can stand in a vocabulary, where each has a line of its own."""
    broken = any(pc.any(breaks_line(chunk.flatten())).as_py() for chunk in lists.chunks)
    return _changed_values(lists, lambda value: " ".join(value.split())) if broken else lists


def _numbers(column: pa.ChunkedArray, pattern: str | None) -> pa.ChunkedArray:
    if pattern:
        column = _changed_texts(texts_of(column), _first_group(pattern))
    numbers = numbers_of(column)
    finite = pc.fill_null(pc.is_finite(numbers), False)
    missing = is_blank(texts_of(column))
    return pc.if_else(finite, numbers, pc.if_else(missing, None, float("nan")))


def _first_group(pattern: str | None) -> Callable[[str], str]:
    """What a pattern's group holds in a text, empty where it does not match."""
    if not pattern:
        return lambda text: text
    search = re.compile(pattern).search

    def group(text: str) -> str:
        match = search(text)
        return (match[1] or "") if match else ""

    return group


def _changed_texts(texts: pa.ChunkedArray, change: Callable[[str], str]) -> pa.ChunkedArray:
    encoded = texts.combine_chunks().dictionary_encode()
    changed = pa.array(map(change, encoded.dictionary.to_pylist()), pa.string())
    return pa.chunked_array([changed.take(encoded.indices)])


def _changed_values(lists: pa.ChunkedArray, change: Callable[[str], str]) -> pa.ChunkedArray:
    chunks = []
    for chunk in lists.chunks:
        values = _changed_texts(pa.chunked_array([chunk.flatten()]), change).combine_chunks()
        chunks.append(
            pa.ListArray.from_arrays(pc.subtract(chunk.offsets, chunk.offsets[0]), values)
        )
    return lists_of(pa.chunked_array(chunks, CATEGORICAL), None)


def _lists_of_flags(table: pa.Table, flags: tuple[str, ...]) -> pa.ChunkedArray:
    shown = pa.array(_SET_FLAGS)
    is_set = np.zeros((table.num_rows, len(flags)), dtype=bool)
    for number, flag in enumerate(flags):
        texts = pc.ascii_lower(pc.utf8_trim_whitespace(texts_of(table[flag])))
        is_set[:, number] = pc.is_in(texts, value_set=shown).to_numpy()
    rows, numbers = np.nonzero(is_set)
    values = pa.array(flags, pa.string()).take(pa.array(numbers))
    return pa.chunked_array([lists_from_rows(rows, values, table.num_rows)])


ITEM_ID, TITLE = item_tables.ITEM_ID, item_tables.TITLE


def catalogue_columns(catalogue: CatalogueTable) -> dict[str, str]:
    """Configuration key -> mapped column of the catalogue."""
    columns = {"data.catalogue.item": catalogue.item, "data.catalogue.title": catalogue.title}
    return columns | attribute_columns(catalogue.attributes, "data.catalogue.attributes")


def catalogue_schema(catalogue: CatalogueTable) -> pa.Schema:
    """Columns of a parsed catalogue: item id, title, the attributes, file and line."""
    types = attribute_types(catalogue.attributes)
    return pa.schema({ITEM_ID: pa.string(), TITLE: pa.string()} | types | PLACE)


def open_catalogue(catalogue: CatalogueTable) -> TableReader:
    """Finds the files of the catalogue and checks that they have the mapped columns.

    Raises:
      ConfigurationError: see `open_table`; or the name of an attribute cannot be used.
    """
    taken = [*item_tables.FIXED_COLUMNS, USER_ID]
    for name in catalogue.attributes:
        if name in taken:
            raise ConfigurationError(
                f"data.catalogue.attributes: '{name}' is taken ({', '.join(taken)}); "
                "give the attribute another name and set its 'column'"
            )
    wanted = WantedColumns(catalogue_columns(catalogue))
    return open_table(catalogue, "data.catalogue.path", wanted)


def parse_catalogue(
    block: ParsedBlock, catalogue: CatalogueTable
) -> tuple[pa.Table, list[DeadLetter]]:
    """Parses records of the catalogue.

    Returns:
      Table of `catalogue_schema`, in which an unreadable number is NaN, and dead letters, those of
      the block included: the two add up to the block's records.
    """
    items, usable, dead_letters = usable_ids(block, catalogue.item, ITEM_ID)
    attributes = {
        name: parse_attribute(block.table, name, attribute)
        for name, attribute in catalogue.attributes.items()
    }
    columns = [items, texts_of(block.table[catalogue.title]), *attributes.values()]
    table = pa.table(columns + block.places(), schema=catalogue_schema(catalogue))
    return table.filter(pa.array(usable)), block.dead_letters + dead_letters


@dataclass(frozen=True)
class DistinctRows:
    """Items or users with their attributes, each once.

    Attributes:
      table: table of `catalogue_schema`, in the catalogue's order, or of `profiles_schema`.
      dead_letters: rows of an item or user that has an earlier row.
      unreadable_numbers: attribute -> values neither empty nor a number; kept as missing.
    """

    table: pa.Table
    dead_letters: list[DeadLetter]
    unreadable_numbers: dict[str, int]

    @property
    def ids(self) -> list[str]:
        """Ids of the items or users."""
        return self.table.column(0).to_pylist()


def collect_items(
    tables: Iterable[pa.Table], catalogue: CatalogueTable, files: Sequence[str]
) -> DistinctRows:
    """Brings the parsed blocks together; the first row of an item counts.

    Args:
      tables: results of `parse_catalogue`, in any order.
      catalogue: configuration of the catalogue.
      files: its files by index (`TableReader.names`).
    """
    schema = catalogue_schema(catalogue)
    return _collect(tables, schema, catalogue.attributes, "item", files)


def read_items(
    reader: TableReader, catalogue: CatalogueTable, dead_letters: DeadLetterRuns
) -> tuple[DistinctRows, int]:
    """Reads the whole catalogue in this process.

    Args:
      reader: reads it, see `open_catalogue`.
      catalogue: its configuration.
      dead_letters: takes rejected rows, those of an item with an earlier row included.

    Returns:
      The items, and the number of records read.
    """
    tables, records = [], 0
    for block in reader.read():
        table, rejected = parse_catalogue(block, catalogue)
        tables.append(table)
        dead_letters.add(rejected)
        records += block.records
    items = collect_items(tables, catalogue, reader.names)
    dead_letters.add(items.dead_letters)
    return items, records


def _collect(
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    attributes: Mapping[str, Attribute],
    entity: str,
    files: Sequence[str],
) -> DistinctRows:
    read, unreadable = take_out_unreadable(
        pa.concat_tables([schema.empty_table(), *tables]), attributes
    )
    table, dead_letters = first_rows([read], schema, schema.names[0], entity, files)
    return DistinctRows(table, dead_letters, unreadable)


def attributes_table(
    items: DistinctRows,
    item_ids: list[str],
    catalogue: CatalogueTable,
    sums: np.ndarray,
    counts: np.ndarray,
) -> pa.Table:
    """The table of `records.item_attributes`.

    Args:
      items: catalogue items.
      item_ids: rows of the table; items that are not in the catalogue have no title and attributes.
      catalogue: configuration of the catalogue.
      sums: [items, folds] rating sums over training interactions.
      counts: [items, folds] rating counts over training interactions.
    """
    types = item_tables.FIXED_COLUMNS | attribute_types(catalogue.attributes)
    ids = pa.array(item_ids, pa.string())
    described = _rows_of(ids, items, catalogue)
    columns = {ITEM_ID: ids} | {
        name: described[name].combine_chunks() for name in (TITLE, *catalogue.attributes)
    }
    columns[item_tables.RATING_SUM] = pa.array(sums.sum(axis=1))
    columns[item_tables.RATING_COUNT] = pa.array(counts.sum(axis=1))
    columns[item_tables.RATING_SUM_BY_FOLD] = _lists_of_folds(sums)
    columns[item_tables.RATING_COUNT_BY_FOLD] = _lists_of_folds(counts)
    return pa.table({name: column.cast(types[name]) for name, column in columns.items()})


def _lists_of_folds(numbers: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), numbers.shape[1])


def _rows_of(ids: pa.Array, items: DistinctRows, catalogue: CatalogueTable) -> pa.Table:
    """Title and attributes of each id; empty ones for an item that is not in the catalogue."""
    nothing: dict[str, object] = {ITEM_ID: "", TITLE: ""}
    nothing |= {
        name: [] if attribute.kind == "categorical" else None
        for name, attribute in catalogue.attributes.items()
    }
    schema = catalogue_schema(catalogue)
    last_row = pa.Table.from_pylist([nothing], schema)
    rows = pc.index_in(ids, value_set=items.table[ITEM_ID].combine_chunks())
    return pa.concat_tables([items.table, last_row]).take(pc.fill_null(rows, items.table.num_rows))


class ProfileColumns:
    """Attributes of some users; those without a profile have none.

    Args:
      profiles: one row per user at most: the user and one column per attribute, lists of texts for
        categorical ones and numbers, null when missing, for numeric ones.
      users: the users.
      attributes: configuration of the attributes, by name.
    """

    def __init__(self, profiles: pa.Table, users: list[str], attributes: dict[str, Attribute]):
        profiles = profiles.combine_chunks()
        row = pc.index_in(pa.array(users, pa.string()), value_set=profiles[USER].combine_chunks())
        self._is_known = row.is_valid().to_numpy(zero_copy_only=False)
        self._row = row.fill_null(0).to_numpy().astype(np.int64)
        self._columns: dict[str, _Texts | _Numbers] = {}
        for name, attribute in attributes.items():
            values = profiles[name].combine_chunks()
            feature = profile_feature(name, attribute.kind).name
            categorical = attribute.kind == "categorical"
            self._columns[feature] = _Texts(values) if categorical else _Numbers(values)

    def of_users(self, users: np.ndarray) -> dict[str, Column]:
        """Feature name -> column for some users, by their numbers."""
        rows, is_known = self._row[users], self._is_known[users]
        return {name: column.of_rows(rows, is_known) for name, column in self._columns.items()}

    def count_values(self, users: np.ndarray) -> dict[str, Counter[str]]:
        """Feature name -> value -> how many of these users have it; categorical ones only."""
        rows = self._row[users[self._is_known[users]]]
        return {
            name: column.count(rows)
            for name, column in self._columns.items()
            if isinstance(column, _Texts)
        }


class _Texts:
    """Lists of texts."""

    def __init__(self, lists: pa.ListArray):
        lists = lists.fill_null([]) if lists.null_count else lists
        encoded = lists.flatten().dictionary_encode()
        offsets = lists.offsets.to_numpy().astype(np.int64)
        self._offsets = offsets - (offsets[0] if len(offsets) else 0)
        self._values: list[str] = encoded.dictionary.to_pylist()
        self._index = encoded.indices.to_numpy()
        self._sequence = BytesSequence([value.encode() for value in self._values], self._index)

    def of_rows(self, rows: np.ndarray, is_known: np.ndarray) -> Column:
        starts, ends = self._windows(rows, is_known)
        return RaggedBytesColumn(self._sequence, starts, ends)

    def count(self, rows: np.ndarray) -> Counter[str]:
        counts = np.zeros(len(self._values), dtype=np.int64)
        for start, end in zip(*self._windows(rows, np.ones(len(rows), bool)), strict=True):
            counts[self._index[start:end]] += 1
        return Counter(dict(zip(self._values, counts.tolist(), strict=True)))

    def _windows(self, rows: np.ndarray, is_known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not is_known.any():
            nothing = np.zeros(len(rows), dtype=np.int64)
            return nothing, nothing
        return self._offsets[rows], np.where(is_known, self._offsets[rows + 1], self._offsets[rows])


class _Numbers:
    """Numbers; null when missing."""

    def __init__(self, values: pa.Array):
        self._sequence = FloatSequence(values.fill_null(0.0).to_numpy())
        self._present = values.is_valid().to_numpy(zero_copy_only=False)

    def of_rows(self, rows: np.ndarray, is_known: np.ndarray) -> Column:
        present = is_known & self._present[rows] if is_known.any() else is_known
        return RaggedFloatColumn(self._sequence, rows, rows + present)


_ATTRIBUTES_KEY = "data.profiles.attributes"


def profiles_schema(profiles: Profiles) -> pa.Schema:
    """Columns of parsed profiles: user, the attributes, file and line."""
    return pa.schema({USER: pa.string()} | attribute_types(profiles.attributes) | PLACE)


def open_profiles(profiles: Profiles) -> TableReader:
    """Finds the files of the profiles and checks that they have the mapped columns.

    Raises:
      ConfigurationError: see `open_table`; or the name of an attribute cannot be used.
    """
    for name in profiles.attributes:
        if name == USER:
            raise ConfigurationError(
                f"{_ATTRIBUTES_KEY}: '{USER}' is taken; give the attribute another name and set "
                "its 'column'"
            )
    columns = {"data.profiles.user": profiles.user}
    wanted = WantedColumns(columns | attribute_columns(profiles.attributes, _ATTRIBUTES_KEY))
    return open_table(profiles, "data.profiles.path", wanted)


def parse_profiles(block: ParsedBlock, profiles: Profiles) -> tuple[pa.Table, list[DeadLetter]]:
    """Parses records of the profiles.

    Returns:
      Table of `profiles_schema`, in which an unreadable number is NaN, and dead letters, those of
      the block included: the two add up to the block's records.
    """
    users, usable, dead_letters = usable_ids(block, profiles.user, "user_id")
    attributes = [
        parse_attribute(block.table, name, attribute)
        for name, attribute in profiles.attributes.items()
    ]
    table = pa.table([users, *attributes, *block.places()], schema=profiles_schema(profiles))
    return table.filter(pa.array(usable)), block.dead_letters + dead_letters


def collect_profiles(
    tables: Iterable[pa.Table], profiles: Profiles, files: Sequence[str]
) -> DistinctRows:
    """Brings parsed blocks together; the first row of a user counts.

    Args:
      tables: results of `parse_profiles` with all rows of some users, in any order.
      profiles: configuration of the profiles.
      files: its files by index (`TableReader.names`).
    """
    schema = profiles_schema(profiles)
    return _collect(tables, schema, profiles.attributes, "user", files)
