"""CSV files in blocks of whole lines, parsed block by block with Arrow, every field as text.

One record is one line: a line break inside quotes is not supported, and such a line becomes a dead
letter. Blank lines are not records.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from configs.loading import ConfigurationError
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.inputs import open_input

LINE = "line"
"""Name of the column with line numbers."""

_BLOCK_BYTES = 4 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class CsvBlock:
    """Some whole lines of a CSV file, header excluded.

    Attributes:
      path: the file.
      first_line: line number of the first line, counted from 1.
      data: the lines.
    """

    path: str
    first_line: int
    data: bytes


@dataclass(frozen=True)
class ParsedBlock:
    """The records of a block.

    Attributes:
      table: the wanted columns as strings, and `line` as int64.
      dead_letters: lines that are not records of the right shape.
      records: number of lines that are not blank.
    """

    table: pa.Table
    dead_letters: list[DeadLetter]
    records: int


def read_header(path: str | Path, key: str) -> list[str]:
    """Column names of a CSV file.

    Args:
      path: the file.
      key: configuration key that names the file, for the error message.

    Raises:
      ConfigurationError: the file is empty or its first line is not a CSV header.
    """
    with open_input(path) as file:
        line = file.readline().removeprefix(_BYTE_ORDER_MARK)
    try:
        names = next(csv.reader([line.decode().rstrip("\r\n")], strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{key}: {path}: line 1 is not a CSV header ({error})") from error
    if not names:
        raise ConfigurationError(f"{key}: {path}: line 1 is empty; it must name the columns")
    return names


def require_columns(header: Sequence[str], wanted: dict[str, str], path: str) -> None:
    """Checks that the mapped columns exist, once each.

    Args:
      header: column names of the file.
      wanted: configuration key -> column.
      path: the file, for the error message.

    Raises:
      ConfigurationError: a column does not exist or exists twice.
    """
    for key, column in wanted.items():
        if column not in header:
            raise ConfigurationError(
                f"{key}: {path} has no column '{column}'. Its columns: {', '.join(header)}"
            )
        if header.count(column) > 1:
            raise ConfigurationError(f"{key}: {path} has more than one column '{column}'")


def read_blocks(path: str, block_bytes: int = _BLOCK_BYTES) -> Iterator[CsvBlock]:
    """Yields the lines after the header in blocks of about `block_bytes`, at least one."""
    with open_input(path) as file:
        file.readline()
        first_line = 2
        rest = b""
        while chunk := file.read(block_bytes):
            whole, newline, tail = chunk.rpartition(b"\n")
            if not newline:
                rest += chunk
                continue
            data = rest + whole + newline
            yield CsvBlock(path, first_line, data)
            first_line += data.count(b"\n")
            rest = tail
        if rest or first_line == 2:
            yield CsvBlock(path, first_line, rest)


def parse_block(block: CsvBlock, header: Sequence[str], columns: Sequence[str]) -> ParsedBlock:
    """Splits the lines of a block into fields.

    Args:
      block: the lines.
      header: all column names of the file, in order.
      columns: the wanted ones.

    Returns:
      The wanted columns; lines with another number of fields, malformed quotes or bytes that are
      not UTF-8 are dead letters.
    """
    data, lines, dead_letters = _regular_lines(block)
    names = [f"{index}" for index in range(len(header))]
    wrong_rows: list[int] = []

    def reject(row: arrow_csv.InvalidRow) -> str:
        line = int(lines[row.number - 1])
        detail = f"{row.actual_columns} fields, the header has {row.expected_columns}"
        dead_letters.append(dead_letter(block.path, line, "wrong_column_count", detail))
        wrong_rows.append(row.number - 1)
        return "skip"

    records = len(lines) + len(dead_letters)
    if not len(lines):
        empty = pa.table({name: pa.array([], pa.string()) for name in columns})
        return ParsedBlock(
            empty.append_column(LINE, pa.array([], pa.int64())), dead_letters, records
        )
    table = arrow_csv.read_csv(
        pa.BufferReader(data),
        read_options=arrow_csv.ReadOptions(
            use_threads=False, column_names=names, block_size=len(data) + 1
        ),
        parse_options=arrow_csv.ParseOptions(invalid_row_handler=reject, ignore_empty_lines=False),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=[names[header.index(column)] for column in columns],
            strings_can_be_null=False,
        ),
    )
    table = table.rename_columns(list(columns))
    return ParsedBlock(
        table.append_column(LINE, pa.array(np.delete(lines, wrong_rows))), dead_letters, records
    )


def _regular_lines(block: CsvBlock) -> tuple[bytes, np.ndarray, list[DeadLetter]]:
    """Takes out blank lines and lines that Arrow would not read as one record.

    Returns:
      The remaining lines, the line number of each, and the dead letters.
    """
    data = block.data
    if _is_regular(data):
        count = data.count(b"\n") + (not data.endswith(b"\n"))
        return data, np.arange(block.first_line, block.first_line + count, dtype=np.int64), []
    kept, numbers, dead_letters = [], [], []
    for number, line in enumerate(data.split(b"\n"), start=block.first_line):
        line = line.removesuffix(b"\r")
        if not line.strip():
            continue
        reason = _problem(line)
        if reason is None:
            kept.append(line)
            numbers.append(number)
        else:
            dead_letters.append(dead_letter(block.path, number, *reason))
    return b"\n".join(kept), np.array(numbers, dtype=np.int64), dead_letters


def _is_regular(data: bytes) -> bool:
    return (
        data.isascii()
        and not any(mark in data for mark in (b'"', b"\r", b"\n\n", b" \n", b"\t\n"))
        and not data.startswith(b"\n")
        and not data.endswith((b" ", b"\t"))
        and bool(data.strip())
    )


def _problem(line: bytes) -> tuple[str, str] | None:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return "invalid_utf8", f"{error.reason} at byte {error.start}"
    if "\r" in text:
        return "line_break_in_field", "a carriage return stands inside the line"
    if '"' in text:
        try:
            next(csv.reader([text], strict=True))
        except csv.Error as error:
            return "malformed_quotes", str(error)
    return None
