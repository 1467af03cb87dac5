"""JSON lines: one object per line, parsed with Arrow where all lines of a block are alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from configs.loading import ConfigurationError
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.tables.blocks import (
    LineBlock,
    ParsedBlock,
    TableFile,
    WantedColumns,
    invalid_text,
    is_text,
    line_numbers,
    read_line_blocks,
)
from preprocessing.tables.values import EXACT_INTEGERS, number_text

_SAMPLED_LINES = 50
_NAMED_FIELDS = 20
_NAMED_CHARACTERS = 40


def require_fields(
    files: Sequence[TableFile], encoding: str, wanted: WantedColumns, key: str
) -> None:
    """Checks that some record has each wanted field.

    Files are read until every field was found, so only a field that is nowhere costs a whole pass.

    Args:
      files: the table's files.
      encoding: of the files.
      wanted: the mapped fields.
      key: configuration key that names the files.

    Raises:
      ConfigurationError: a file is empty or not JSON lines, or a field is in no record.
    """
    missing = dict(wanted.by_key)
    field_names: dict[str, None] = {}
    for file in files:
        empty = True
        with closing(read_line_blocks(file, encoding)) as blocks:
            for block in blocks:
                if empty and block.data.strip():
                    empty = False
                    _refuse_list(block.data, file, key)
                    lines = block.data.split(b"\n", _SAMPLED_LINES)[:_SAMPLED_LINES]
                    field_names |= dict.fromkeys(_fields(lines))
                missing = {
                    mapped: field
                    for mapped, field in missing.items()
                    if not _has_field(block.data, field)
                }
                if not missing and not empty:
                    break
        if empty:
            raise ConfigurationError(f"{key}: {file.name} is empty")
    where = files[0].name if len(files) == 1 else f"the {len(files)} files of {key}"
    if missing and not field_names:
        raise ConfigurationError(f"{key}: no line at the start of {where} is a JSON object")
    for mapped, field in missing.items():
        names = _some_names(list(field_names))
        raise ConfigurationError(
            f"{mapped}: no record of {where} has a field '{field}'. Fields there: {names}"
            f"{wanted.way_out(mapped)}"
        )


def _refuse_list(data: bytes, file: TableFile, key: str) -> None:
    if data.lstrip().startswith(b"["):
        raise ConfigurationError(
            f"{key}: {file.name} begins with '[': it is one JSON list; JSON lines have one object "
            "on each line"
        )


def _some_names(names: Sequence[str]) -> str:
    """The first names, long ones cut, and how many more there are."""
    shown = [
        name if len(name) <= _NAMED_CHARACTERS else f"{name[:_NAMED_CHARACTERS]}..."
        for name in names[:_NAMED_FIELDS]
    ]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _has_field(data: bytes, field: str) -> bool:
    """True when an object of the block has the field at its top level."""
    written = {json.dumps(field).encode(), json.dumps(field, ensure_ascii=False).encode()}
    if not any(name in data for name in written):
        return False
    lines = (line for line in data.split(b"\n") if any(name in line for name in written))
    return any(field in _fields([line]) for line in lines)


def _fields(lines: Sequence[bytes]) -> list[str]:
    fields: dict[str, None] = {}
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            fields |= dict.fromkeys(record)
    return list(fields)


_BLANKS = b" \t"
_TEXT, _TEXTS = pa.string(), pa.list_(pa.string())


def parse_json_lines(
    block: LineBlock, file: TableFile, encoding: str, columns: Sequence[str]
) -> ParsedBlock:
    """Reads the wanted fields of every object of a block.

    Args:
      block: the lines.
      file: the file they are from.
      encoding: of the file, for messages.
      columns: the wanted fields, each once.

    Returns:
      Columns of text, numbers, truth values, or lists of them. Lines that are not objects, or in
      which a wanted field holds an object, are dead letters.
    """
    data = block.data.replace(b"\r\n", b"\n") if b"\r" in block.data else block.data
    table = _parse_alike(data, columns)
    if table is not None:
        return ParsedBlock(file, table, line_numbers(block, data), [], table.num_rows)
    return _parse_line_by_line(block, data, file, encoding, columns)


def _parse_alike(data: bytes, columns: Sequence[str]) -> pa.Table | None:
    """All lines at once, or None when they are not one object each or of different types."""
    data = data.removesuffix(b"\n")
    lines = data.count(b"\n") + 1
    # With these ends no object can reach over a line, so as many rows as lines is one row a line.
    one_object_a_line = (
        data.startswith(b"{") and data.endswith(b"}") and data.count(b"}\n{") == lines - 1
    )
    if not one_object_a_line or not is_text(data):
        return None
    schema = _schema(data.split(b"\n", _SAMPLED_LINES)[:_SAMPLED_LINES], columns)
    if schema is None:
        return None
    try:
        table = arrow_json.read_json(
            pa.BufferReader(data),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="ignore"
            ),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != lines or not all(map(_is_exact, table.columns)):
        return None
    return table.select(list(columns))


def _schema(lines: Sequence[bytes], columns: Sequence[str]) -> pa.Schema | None:
    """Types of the wanted fields in some lines; None when they differ."""
    types: dict[str, set[pa.DataType | None]] = {column: set() for column in columns}
    empty_lists: set[str] = set()
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            return None
        for column, value_types in types.items():
            value = record.get(column)
            if value == []:
                empty_lists.add(column)
            elif value is not None:
                value_types.add(_type(value))
    fields = {}
    for column, value_types in types.items():
        if value_types == {pa.int64(), pa.float64()}:
            value_types = {pa.float64()}
        if len(value_types) > 1 or None in value_types:
            return None
        fields[column] = next(iter(value_types), _TEXTS if column in empty_lists else _TEXT)
    return pa.schema(fields)


def _type(value: object) -> pa.DataType | None:
    if isinstance(value, list):
        inner = {_type(entry) for entry in value if entry is not None}
        entry = inner.pop() if len(inner) == 1 else None
        return None if entry is None else pa.list_(entry)
    kinds = {str: _TEXT, bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    return kinds.get(type(value))


def _is_exact(column: pa.ChunkedArray) -> bool:
    """False where integers among the numbers of a column may have lost digits."""
    if column.type != pa.float64():
        return True
    return pc.any(pc.greater_equal(pc.abs(column), EXACT_INTEGERS)).as_py() is not True


class _Unsupported(ValueError):
    pass


def _parse_line_by_line(
    block: LineBlock, data: bytes, file: TableFile, encoding: str, columns: Sequence[str]
) -> ParsedBlock:
    values: dict[str, list[Any]] = {column: [] for column in columns}
    lines: list[int] = []
    dead_letters: list[DeadLetter] = []
    for number, line in enumerate(data.split(b"\n"), start=block.first_line):
        if not line.strip(_BLANKS):
            continue
        try:
            record = json.loads(
                line.decode(), parse_int=str, parse_float=_float_text, parse_constant=str
            )
            if not isinstance(record, dict):
                raise _Unsupported("the line is not an object")
            read = [_texts(record.get(column), column) for column in columns]
        except UnicodeError as error:
            if isinstance(error, UnicodeDecodeError):
                dead_letters.append(invalid_text(file, number, encoding, error))
            else:
                detail = "an escape stands for half a character"
                dead_letters.append(dead_letter(file.name, number, "invalid_utf8", detail))
        except _Unsupported as error:
            dead_letters.append(dead_letter(file.name, number, "unsupported_json", str(error)))
        except json.JSONDecodeError as error:
            detail = f"{error.msg} at character {error.colno}"
            dead_letters.append(dead_letter(file.name, number, "malformed_json", detail))
        except RecursionError:
            detail = "lists or objects are nested too deeply"
            dead_letters.append(dead_letter(file.name, number, "malformed_json", detail))
        else:
            lines.append(number)
            for column, value in zip(columns, read, strict=True):
                values[column].append(value)
    arrays = {column: _array(texts) for column, texts in values.items()}
    records = len(lines) + len(dead_letters)
    return ParsedBlock(
        file, pa.table(arrays), np.array(lines, dtype=np.int64), dead_letters, records
    )


def _float_text(literal: str) -> str:
    return number_text(float(literal))


def _texts(value: Any, column: str) -> str | list[str] | None:
    """A value as text, or a list as texts; lists inside lists are laid out flat."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        value.encode()
        return value
    if isinstance(value, dict):
        raise _Unsupported(f"field '{column}' holds an object")
    texts: list[str] = []
    for entry in value:
        inner = _texts(entry, column)
        texts.extend(inner if isinstance(inner, list) else [inner or ""])
    return texts


def _array(values: list[Any]) -> pa.Array:
    if any(isinstance(value, list) for value in values):
        lists = [value if isinstance(value, list) or value is None else [value] for value in values]
        return pa.array(lists, _TEXTS)
    return pa.array(values, _TEXT)
