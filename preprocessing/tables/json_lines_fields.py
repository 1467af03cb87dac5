"""The fields of JSON lines files, which have no header."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing

from configs.loading import ConfigurationError
from preprocessing.tables.blocks import TableFile
from preprocessing.tables.lines import read_line_blocks
from preprocessing.tables.wanted_columns import WantedColumns

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
    known: dict[str, None] = {}
    for file in files:
        empty = True
        with closing(read_line_blocks(file, encoding)) as blocks:
            for block in blocks:
                if empty and block.data.strip():
                    empty = False
                    _refuse_list(block.data, file, key)
                    lines = block.data.split(b"\n", _SAMPLED_LINES)[:_SAMPLED_LINES]
                    known |= dict.fromkeys(_fields(lines))
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
    if missing and not known:
        raise ConfigurationError(f"{key}: no line at the start of {where} is a JSON object")
    for mapped, field in missing.items():
        names = _some_names(list(known))
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
