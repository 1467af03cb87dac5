"""Tables for tests: written, opened and read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from configs.data import Table
from preprocessing.tables.blocks import LineBlock, ParsedBlock, TableFile, WantedColumns
from preprocessing.tables.csv_format import Dialect, parse_csv
from preprocessing.tables.table_reader import TableReader, open_table
from preprocessing.tables.values import texts_of


def text_file(path: str | Path, columns: Sequence[str] = (), form: str = "csv") -> TableFile:
    """A file as `open_table` describes it."""
    return TableFile(0, str(path), str(path), form, tuple(columns), 0)


def csv_block(
    columns: Sequence[str],
    data: bytes,
    first_line: int = 2,
    name: str = "f.csv",
    wanted: Sequence[str] | None = None,
    **written: str | bool,
) -> ParsedBlock:
    """Parsed lines of a CSV file."""
    table = Table(path=name, **written)
    dialect = Dialect.of_file(table, name)
    block = LineBlock(0, first_line, data)
    return parse_csv(block, text_file(name, columns), dialect, wanted or columns)


def typed_block(table: pa.Table, name: str = "f.parquet") -> ParsedBlock:
    """Rows as they come from a Parquet file."""
    lines = pa.array(range(1, len(table) + 1), pa.int64()).to_numpy()
    file = text_file(name, table.column_names, "parquet")
    return ParsedBlock(file, table, lines, [], len(table))


def opened(table: Table, *columns: str) -> TableReader:
    """A reader of some columns."""
    wanted = {f"data.x.{column}": column for column in columns}
    return open_table(table, "data.x.path", WantedColumns(wanted))


def rows_of(reader: TableReader) -> list[tuple[int, int, tuple[str, ...]]]:
    """All records as (file, line, texts)."""
    rows = []
    for block in reader.read():
        columns = [texts_of(column).to_pylist() for column in block.table.columns]
        texts = zip(*columns, strict=True)
        for line, values in zip(block.lines.tolist(), texts, strict=True):
            rows.append((block.file.index, line, values))
    return rows


def letters_of(reader: TableReader) -> list[tuple[str, int, str]]:
    """All dead letters as (file name, line, reason)."""
    letters = [letter for block in reader.read() for letter in block.dead_letters]
    return [(Path(letter["file"]).name, letter["line"], letter["reason"]) for letter in letters]
