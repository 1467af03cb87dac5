"""Attributes of items and users: columns of a table become lists of categories, or numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.raw_data import Attribute
from preprocessing.interactions.entity_ids import breaks_line
from preprocessing.records.item_attributes import CATEGORICAL, NUMERIC
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
            place = table.column_names.index(name)
            table = table.set_column(place, name, pc.if_else(bad, None, numbers))
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
