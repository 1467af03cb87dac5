"""CSV: separated fields, parsed with Arrow, every field as text.

One record is one line: a line break inside quotes is not supported, and such a line becomes a dead
letter. Arrow knows separators of one ASCII character; others are replaced by a control character
that the block does not hold, and put back into fields that held them in quotes.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.tables.blocks import LineBlock, ParsedBlock, TableFile
from preprocessing.tables.dialect import Dialect, quoted_fields, stand_in
from preprocessing.tables.lines import invalid_text, is_text, line_numbers


def parse_csv(
    block: LineBlock, file: TableFile, dialect: Dialect, columns: Sequence[str]
) -> ParsedBlock:
    """Splits the lines of a block into fields.

    Args:
      block: the lines, header excluded.
      file: the file they are from.
      dialect: how they are written.
      columns: the wanted columns, each once.

    Returns:
      The wanted columns as text; lines with another number of fields, malformed quotes or bytes
      that are not text are dead letters.
    """
    data = block.data.replace(b"\r\n", b"\n") if b"\r" in block.data else block.data
    separator = dialect.separator.encode()
    replacement = stand_in(data) if len(separator) > 1 else None
    data, lines, dead_letters = _regular_lines(block, data, file, dialect, replacement)
    records = len(lines) + len(dead_letters)
    if not len(lines):
        empty = pa.table({name: pa.array([], pa.string()) for name in columns})
        return ParsedBlock(file, empty, lines, dead_letters, records)
    if replacement is not None:
        data = data.replace(separator, replacement)
    wrong_rows: list[int] = []

    def reject(row: arrow_csv.InvalidRow) -> str:
        line = int(lines[row.number - 1])
        detail = f"{row.actual_columns} fields instead of {row.expected_columns}"
        dead_letters.append(dead_letter(file.name, line, "wrong_column_count", detail))
        wrong_rows.append(row.number - 1)
        return "skip"

    names = [f"{index}" for index in range(len(file.columns))]
    table = arrow_csv.read_csv(
        pa.BufferReader(data),
        read_options=arrow_csv.ReadOptions(
            use_threads=False, column_names=names, block_size=len(data) + 1
        ),
        parse_options=arrow_csv.ParseOptions(
            delimiter=(replacement or separator).decode(),
            quote_char='"' if dialect.quoting else False,
            double_quote=dialect.quoting,
            invalid_row_handler=reject,
            ignore_empty_lines=False,
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=[names[file.columns.index(column)] for column in columns],
            strings_can_be_null=False,
        ),
    ).rename_columns(list(columns))
    if replacement is not None and dialect.quoting and b'"' in data:
        table = _put_back(table, replacement.decode(), dialect.separator)
    return ParsedBlock(file, table, np.delete(lines, wrong_rows), dead_letters, records)


def _put_back(table: pa.Table, replacement: str, separator: str) -> pa.Table:
    columns = [pc.replace_substring(column, replacement, separator) for column in table.columns]
    return pa.table(columns, names=table.column_names)


def _regular_lines(
    block: LineBlock, data: bytes, file: TableFile, dialect: Dialect, replacement: bytes | None
) -> tuple[bytes, np.ndarray, list[DeadLetter]]:
    """Takes out blank lines and lines that Arrow would not read as one record.

    Returns:
      The remaining lines, the line number of each, and the dead letters.
    """
    if _is_regular(data, dialect, replacement):
        return data, line_numbers(block, data), []
    kept, numbers, dead_letters = [], [], []
    for number, line in enumerate(data.split(b"\n"), start=block.first_line):
        if dialect.is_blank(line):
            continue
        letter = _problem(line, number, file, dialect, replacement)
        if letter is None:
            kept.append(line)
            numbers.append(number)
        else:
            dead_letters.append(letter)
    return b"\n".join(kept), np.array(numbers, dtype=np.int64), dead_letters


def _is_regular(data: bytes, dialect: Dialect, replacement: bytes | None) -> bool:
    ends = tuple(bytes([blank]) for blank in dialect.blanks)
    return (
        b"\r" not in data
        and b"\n\n" not in data
        and not (replacement is not None and replacement in data)
        and not any(blank + b"\n" in data for blank in ends)
        and not data.startswith(b"\n")
        and not data.endswith(ends)
        and bool(data)
        and is_text(data)
        and _quotes_are_closed(data, dialect, replacement)
    )


def _quotes_are_closed(data: bytes, dialect: Dialect, replacement: bytes | None) -> bool:
    """True when every line has well-formed quotes of its own; the lines are otherwise regular."""
    if not dialect.quoting or b'"' not in data:
        return True
    separator = dialect.separator
    text = data.decode().removesuffix("\n")
    if replacement is not None:
        text, separator = text.replace(separator, replacement.decode()), replacement.decode()
    lines = text.split("\n")
    # A quote that a line leaves open takes in the next one, and then there are fewer rows.
    try:
        return sum(1 for _ in quoted_fields(lines, separator)) == len(lines)
    except csv.Error:
        return False


def _problem(
    line: bytes, number: int, file: TableFile, dialect: Dialect, replacement: bytes | None
) -> DeadLetter | None:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return invalid_text(file, number, dialect.encoding, error)
    if "\r" in text:
        detail = "a carriage return stands inside the line"
        return dead_letter(file.name, number, "line_break_in_field", detail)
    if replacement is not None and replacement in line:
        detail = f"{replacement!r} stands inside the line"
        return dead_letter(file.name, number, "control_character", detail)
    if dialect.quoting and '"' in text:
        try:
            dialect.split(text)
        except csv.Error as error:
            return dead_letter(file.name, number, "malformed_quotes", str(error))
    return None
