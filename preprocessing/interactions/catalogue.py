"""The catalogue: items with title and attributes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from configs.scenario import Attribute, Catalogue
from preprocessing.csv_blocks import LINE, CsvBlock, parse_block
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.interactions.reading import is_blank, parse_numbers
from preprocessing.records import item_attributes

Row = dict[str, Any]


def catalogue_columns(catalogue: Catalogue) -> dict[str, str]:
    """Configuration key -> mapped column of the catalogue file."""
    columns = {"data.catalogue.item": catalogue.item, "data.catalogue.title": catalogue.title}
    for name, attribute in catalogue.attributes.items():
        columns[f"data.catalogue.attributes.{name}.column"] = attribute.column or name
    return columns


def parse_catalogue(
    block: CsvBlock, header: list[str], catalogue: Catalogue
) -> tuple[pa.Table, list[DeadLetter], int]:
    """Parses a block of the catalogue.

    Returns:
      Table of the mapped columns and `line`, dead letters, and the number of records read.
    """
    columns = list(dict.fromkeys(catalogue_columns(catalogue).values()))
    parsed = parse_block(block, header, columns)
    blank = is_blank(parsed.table[catalogue.item])
    dead_letters = parsed.dead_letters + [
        dead_letter(block.path, line, "missing_item_id", f"column '{catalogue.item}': empty")
        for line in parsed.table[LINE].filter(blank).to_pylist()
    ]
    return parsed.table.filter(pa.compute.invert(blank)), dead_letters, parsed.records


@dataclass(frozen=True)
class Items:
    """Catalogue items by id, each once.

    Attributes:
      rows: item id -> title and attribute values: lists of categories, numbers, None for no number.
      dead_letters: rows of an item that has an earlier row.
      unreadable_numbers: attribute -> values neither empty nor a number; kept as missing.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    unreadable_numbers: dict[str, int] = field(default_factory=dict)


def collect_items(tables: Iterable[pa.Table], catalogue: Catalogue) -> Items:
    """Brings the parsed blocks together; the first row of an item counts.

    Args:
      tables: results of `parse_catalogue`, in any order.
      catalogue: configuration of the catalogue.
    """
    table = pa.concat_tables(tables).sort_by(LINE)
    values: dict[str, Sequence[object]] = {}
    items = Items()
    for name, attribute in catalogue.attributes.items():
        texts = table[attribute.column or name]
        if attribute.kind == "categorical":
            values[name] = [_split(text, attribute) for text in texts.to_pylist()]
        else:
            values[name], items.unreadable_numbers[name] = _numbers(texts)
    titles, lines = table[catalogue.title].to_pylist(), table[LINE].to_pylist()
    first_lines: dict[str, int] = {}
    for row, item in enumerate(table[catalogue.item].to_pylist()):
        if item in items.rows:
            detail = f"same item as line {first_lines[item]}"
            items.dead_letters.append(
                dead_letter(catalogue.path, lines[row], "duplicate_item", detail)
            )
            continue
        first_lines[item] = lines[row]
        items.rows[item] = {
            item_attributes.TITLE: titles[row],
            **{name: column[row] for name, column in values.items()},
        }
    return items


def attributes_table(
    items: Items, item_ids: list[str], catalogue: Catalogue, sums: np.ndarray, counts: np.ndarray
) -> pa.Table:
    """The table of `records.item_attributes`.

    Args:
      items: catalogue items.
      item_ids: rows of the table; items that are not in the catalogue have no title and attributes.
      catalogue: configuration of the catalogue.
      sums: [items, folds] rating sums over training interactions.
      counts: [items, folds] rating counts over training interactions.
    """
    rows = [items.rows.get(item_id, {}) for item_id in item_ids]
    columns = {
        item_attributes.ITEM_ID: item_ids,
        item_attributes.TITLE: [row.get(item_attributes.TITLE, "") for row in rows],
    }
    types = dict(item_attributes.FIXED_COLUMNS)
    for name, attribute in catalogue.attributes.items():
        categorical = attribute.kind == "categorical"
        types[name] = item_attributes.CATEGORICAL if categorical else item_attributes.NUMERIC
        columns[name] = [row.get(name, [] if categorical else None) for row in rows]
    columns[item_attributes.RATING_SUM] = sums.sum(axis=1)
    columns[item_attributes.RATING_COUNT] = counts.sum(axis=1)
    columns[item_attributes.RATING_SUM_BY_FOLD] = sums.tolist()
    columns[item_attributes.RATING_COUNT_BY_FOLD] = counts.tolist()
    return pa.table({name: pa.array(column, types[name]) for name, column in columns.items()})


def _split(text: str, attribute: Attribute) -> list[str]:
    parts = text.split(attribute.separator) if attribute.separator else [text]
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _numbers(texts: pa.ChunkedArray) -> tuple[list[float | None], int]:
    trimmed = pa.compute.utf8_trim_whitespace(texts)
    numbers = [
        number if number is not None and math.isfinite(number) else None
        for number in parse_numbers(trimmed).to_pylist()
    ]
    unreadable = sum(
        number is None and text != ""
        for number, text in zip(numbers, trimmed.to_pylist(), strict=True)
    )
    return numbers, unreadable
