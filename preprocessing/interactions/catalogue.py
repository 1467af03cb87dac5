"""The catalogue: items with title and attributes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.raw_data import Catalogue
from preprocessing.dead_letters import DeadLetter
from preprocessing.interactions.attributes import (
    attribute_columns,
    attribute_types,
    parse_attribute,
    take_out_unreadable,
)
from preprocessing.interactions.entity_ids import usable_ids
from preprocessing.interactions.first_rows import PLACE, first_rows
from preprocessing.names import require_attribute_names
from preprocessing.records import item_attributes
from preprocessing.tables.blocks import ParsedBlock
from preprocessing.tables.table_reader import TableReader, open_table
from preprocessing.tables.values import texts_of
from preprocessing.tables.wanted_columns import WantedColumns

ITEM_ID, TITLE = item_attributes.ITEM_ID, item_attributes.TITLE


def catalogue_columns(catalogue: Catalogue) -> dict[str, str]:
    """Configuration key -> mapped column of the catalogue."""
    columns = {"data.catalogue.item": catalogue.item, "data.catalogue.title": catalogue.title}
    return columns | attribute_columns(catalogue.attributes, "data.catalogue.attributes")


def catalogue_schema(catalogue: Catalogue) -> pa.Schema:
    """Columns of a parsed catalogue: item id, title, the attributes, file and line."""
    types = attribute_types(catalogue.attributes)
    return pa.schema({ITEM_ID: pa.string(), TITLE: pa.string()} | types | PLACE)


def open_catalogue(catalogue: Catalogue) -> TableReader:
    """Finds the files of the catalogue and checks that they have the mapped columns.

    Raises:
      ConfigurationError: see `open_table`; or the name of an attribute cannot be used.
    """
    require_attribute_names(catalogue)
    wanted = WantedColumns(catalogue_columns(catalogue))
    return open_table(catalogue, "data.catalogue.path", wanted)


def parse_catalogue(block: ParsedBlock, catalogue: Catalogue) -> tuple[pa.Table, list[DeadLetter]]:
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
class Items:
    """Catalogue items, each once.

    Attributes:
      table: table of `catalogue_schema`, in the catalogue's order.
      dead_letters: rows of an item that has an earlier row.
      unreadable_numbers: attribute -> values neither empty nor a number; kept as missing.
    """

    table: pa.Table
    dead_letters: list[DeadLetter]
    unreadable_numbers: dict[str, int]

    @property
    def ids(self) -> list[str]:
        """Item ids."""
        return self.table[ITEM_ID].to_pylist()


def collect_items(tables: Iterable[pa.Table], catalogue: Catalogue, files: Sequence[str]) -> Items:
    """Brings the parsed blocks together; the first row of an item counts.

    Args:
      tables: results of `parse_catalogue`, in any order.
      catalogue: configuration of the catalogue.
      files: its files by index (`TableReader.names`).
    """
    schema = catalogue_schema(catalogue)
    read, unreadable = take_out_unreadable(
        pa.concat_tables([schema.empty_table(), *tables]), catalogue.attributes
    )
    table, dead_letters = first_rows([read], schema, ITEM_ID, "item", files)
    return Items(table, dead_letters, unreadable)


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
    types = item_attributes.FIXED_COLUMNS | attribute_types(catalogue.attributes)
    ids = pa.array(item_ids, pa.string())
    described = _rows_of(ids, items, catalogue)
    columns = {ITEM_ID: ids} | {
        name: described[name].combine_chunks() for name in (TITLE, *catalogue.attributes)
    }
    columns[item_attributes.RATING_SUM] = pa.array(sums.sum(axis=1))
    columns[item_attributes.RATING_COUNT] = pa.array(counts.sum(axis=1))
    columns[item_attributes.RATING_SUM_BY_FOLD] = pa.array(
        sums.tolist(), types[item_attributes.RATING_SUM_BY_FOLD]
    )
    columns[item_attributes.RATING_COUNT_BY_FOLD] = pa.array(
        counts.tolist(), types[item_attributes.RATING_COUNT_BY_FOLD]
    )
    return pa.table({name: column.cast(types[name]) for name, column in columns.items()})


def _rows_of(ids: pa.Array, items: Items, catalogue: Catalogue) -> pa.Table:
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
