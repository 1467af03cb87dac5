"""The columns of a CSV file: named by its first line, or by the configuration."""

from __future__ import annotations

import csv
from contextlib import closing

from configs.loading import ConfigurationError
from configs.raw_data import Table
from preprocessing.tables.blocks import LineBlock, TableFile
from preprocessing.tables.dialect import Dialect
from preprocessing.tables.lines import read_line_blocks

_FIRST_BYTES = 1 << 16
_INSPECTED_LINES = 100


def read_column_names(file: TableFile, table: Table, key: str) -> tuple[str, ...]:
    """Column names of a file.

    Raises:
      ConfigurationError: the file is empty, or its first line is not a header, or, without one, its
        lines have other numbers of fields than there are names.
    """
    dialect = Dialect.of_file(table, file.name)
    dialect.require_usable(key)
    with closing(read_line_blocks(file, table.encoding, _FIRST_BYTES)) as blocks:
        data = next(blocks).data
    if not data.strip():
        problem = "line 1 is empty; it must name the columns" if table.header else "is empty"
        raise ConfigurationError(f"{key}: {file.name}: {problem}")
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    if not table.header:
        _require_fields(lines[:_INSPECTED_LINES], table, dialect, f"{key}: {file.name}")
        return table.column_names
    try:
        names = dialect.split(lines[0].decode())
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(
            f"{key}: {file.name}: line 1 is not a CSV header ({error})"
        ) from error
    if not any(names):
        raise ConfigurationError(f"{key}: {file.name}: line 1 is empty; it must name the columns")
    return tuple(names)


def _require_fields(lines: list[bytes], table: Table, dialect: Dialect, where: str) -> None:
    numbers = set()
    for line in lines:
        try:
            if not dialect.is_blank(line):
                numbers.add(len(dialect.split(line.decode())))
        except (UnicodeDecodeError, csv.Error):
            continue
    expected = len(table.column_names)
    if numbers and expected not in numbers:
        found = " or ".join(map(str, sorted(numbers)))
        raise ConfigurationError(
            f"{where}: its lines have {found} fields with the separator {dialect.separator!r}, but "
            f"'column_names' names {expected} columns"
        )


def without_header(block: LineBlock) -> LineBlock:
    """The first block of a file without its first line."""
    _, _, data = block.data.partition(b"\n")
    return LineBlock(block.file, block.first_line + 1, data)
