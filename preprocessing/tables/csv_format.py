"""CSV: dialect, header and fields, parsed with Arrow, every field as text."""

from __future__ import annotations

import codecs
import contextlib
import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from configs.data import Table
from configs.loading import ConfigurationError
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.inputs import COMPRESSED_SUFFIXES
from preprocessing.tables.blocks import (
    LineBlock,
    ParsedBlock,
    TableFile,
    invalid_text,
    is_text,
    line_numbers,
    read_line_blocks,
    separator_of,
)

_STAND_INS = [bytes([code]) for code in (*range(0x1F, 0x0D, -1), *range(0x08, 0x00, -1))]
"""Control characters that no table has much use for."""

_LONGEST_FIELD = 1 << 30
"""More than a block of lines holds, which is what bounds a field."""

_LINES_LOOKED_AT, _BYTES_LOOKED_AT = 8, 1 << 20
"""Where a record may begin that goes on in the next block: last lines with quotes, last bytes."""


@dataclass(frozen=True)
class Dialect:
    """How fields stand in a line.

    Attributes:
      separator: between fields, one or several characters.
      quoting: fields may stand in double quotes.
      encoding: of the file, for messages.
    """

    separator: str
    quoting: bool
    encoding: str

    @classmethod
    def of_file(cls, table: Table, path: str) -> Dialect:
        """The dialect of one file of a table."""
        return cls(separator_of(table, path), table.quoting, table.encoding)

    def require_usable(self, key: str) -> None:
        """Checks the separator.

        Raises:
          ConfigurationError: it is empty or holds a line break or a quotation mark.
        """
        forbidden = '\r\n"' if self.quoting else "\r\n"
        if not self.separator or any(character in self.separator for character in forbidden):
            raise ConfigurationError(
                f"{key}: the separator {self.separator!r} must be one or several characters, "
                "none of them a line break or a quotation mark"
            )

    def split(self, line: str) -> list[str]:
        """Fields of one line.

        Raises:
          csv.Error: quotes are malformed.
        """
        separator = self.separator
        if not self.quoting:
            return line.split(separator)
        if len(separator) == 1:
            return next(quoted_fields([line], separator), [])
        replacement = stand_in(line.encode()).decode()
        replaced = line.replace(separator, replacement)
        fields = next(quoted_fields([replaced], replacement), [])
        return [field.replace(replacement, separator) for field in fields]

    def record(
        self, lines: Sequence[bytes], start: int = 0, replacement: bytes | None = None
    ) -> tuple[list[str], int]:
        """Reads a record that may have line breaks inside quotes.

        Args:
          lines: without their ends.
          start: index of its first line.
          replacement: stand-in for a separator of several characters.

        Returns:
          Its fields, with the stand-in, and the index of the line behind it.

        Raises:
          csv.Error: quotes are malformed, or do not end.
        """
        numbers = iter(range(start, len(lines)))
        separator = self.separator if replacement is None else replacement.decode()
        texts = (
            lines[number].decode(errors="replace").replace(self.separator, separator)
            for number in numbers
        )
        fields = next(quoted_fields(texts, separator), [])
        return fields, next(numbers, len(lines))

    def whole_records(self, data: bytes) -> int:
        """Where the last record of some whole lines ends; the next one has not ended yet.

        A quote that is open for a megabyte is taken for a stray one, which takes in nothing.
        """
        whole = start = len(data)
        replacement = stand_in(data) if self.quoting and len(self.separator) > 1 else None
        for _ in range(_LINES_LOOKED_AT if self.quoting else 0):
            quote = data.rfind(b'"', max(0, len(data) - _BYTES_LOOKED_AT), start)
            if quote < 0:
                break
            start = data.rfind(b"\n", 0, quote) + 1
            lines = [*data[start:].removesuffix(b"\n").split(b"\n"), b'"']
            with contextlib.suppress(csv.Error):
                if self.record(lines, 0, replacement)[1] == len(lines):
                    whole = start
        return whole

    def is_blank(self, line: bytes) -> bool:
        """True for a line of nothing but spaces and tabs that are no separators."""
        return not line.strip(self.blanks)

    @property
    def blanks(self) -> bytes:
        """Spaces and tabs, unless they belong to the separator."""
        return "".join(blank for blank in " \t" if blank not in self.separator).encode()


def quoted_fields(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    """Yields the fields of each record; one with a quote left open takes in the next line.

    Args:
      lines: without their ends.
      separator: one character.

    Raises:
      csv.Error: quotes are malformed.
    """
    # Python's own limit of 131,072 characters is less than some reviews and descriptions have.
    csv.field_size_limit(_LONGEST_FIELD)
    return csv.reader(lines, delimiter=separator, strict=True)


def stand_in(data: bytes) -> bytes:
    """A control character that can stand in for a separator: one that is not in the data.

    Where all of them are, the first one; lines that hold it cannot be read.
    """
    return next((byte for byte in _STAND_INS if byte not in data), _STAND_INS[0])


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
        advice = ""
        if isinstance(error, UnicodeDecodeError):
            packed = ", ".join(COMPRESSED_SUFFIXES)
            advice = f"; set {key.rpartition('.')[0]}.encoding, or, if it is packed, let its name "
            advice += f"end with {packed} in small letters"
        raise ConfigurationError(
            f"{key}: {file.name}: line 1 is not a CSV header ({error}){advice}"
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
        sizes = " or ".join(map(str, sorted(numbers)))
        raise ConfigurationError(
            f"{where}: its lines have {sizes} fields with the separator {dialect.separator!r}, but "
            f"'column_names' names {expected} columns"
        )


def without_header(block: LineBlock) -> LineBlock:
    """The first block of a file without its first line."""
    _, _, data = block.data.partition(b"\n")
    return LineBlock(block.file, block.first_line + 1, data)


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
      that are not text are dead letters, and so are records of several lines, each of them one.
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
        pa.BufferReader(codecs.BOM_UTF8 + data),  # Arrow takes one off, which may be the text's own
        read_options=arrow_csv.ReadOptions(
            use_threads=False, column_names=names, block_size=len(data) + 4
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
    lines = data.split(b"\n")
    behind = 0
    for index, line in enumerate(lines):
        if index < behind or dialect.is_blank(line):
            continue
        number = block.first_line + index
        behind = _end_of_record(lines, index, file, dialect, replacement)
        if behind > index + 1:
            last = block.first_line + behind - 1
            detail = f"line breaks stand inside quotes; the record ends in line {last}"
            dead_letters.append(dead_letter(file.name, number, "line_break_in_field", detail))
            continue
        letter = _problem(line, number, file, dialect, replacement)
        if letter is None:
            kept.append(line)
            numbers.append(number)
        else:
            dead_letters.append(letter)
    return b"\n".join(kept), np.array(numbers, dtype=np.int64), dead_letters


def _end_of_record(
    lines: Sequence[bytes], index: int, file: TableFile, dialect: Dialect, replacement: bytes | None
) -> int:
    """Index of the line behind the record at a line.

    A quote that is left open takes in more lines only where that makes a record of as many fields
    as the file has columns: else it is a stray one.
    """
    if dialect.quoting and b'"' in lines[index]:
        with contextlib.suppress(csv.Error):
            fields, behind = dialect.record(lines, index, replacement)
            if len(fields) == len(file.columns):
                return behind
    return index + 1


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
