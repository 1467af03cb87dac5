"""Which files a table consists of, and how they are written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from configs.loading import ConfigurationError
from configs.raw_data import Table
from preprocessing import storage
from preprocessing.downloading.data_sets import missing_data_advice
from preprocessing.inputs import COMPRESSED_SUFFIXES

_FORMATS = {".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}


def expand_paths(paths: Iterable[str], key: str) -> list[str]:
    """The files that paths and glob patterns mean, each once.

    Args:
      paths: in the order in which their files are read; files of a pattern come sorted by name.
      key: configuration key that names them, for the error message.

    Raises:
      ConfigurationError: a path or pattern means no file.
    """
    files: dict[str, None] = {}
    for path in paths:
        found = storage.matching_files(path)
        if not found:
            raise ConfigurationError(f"{key}: {_nothing_at(path)}")
        files |= dict.fromkeys(found)
    return list(files)


def _nothing_at(path: str) -> str:
    where = "" if storage.is_url(path) else f" (relative paths start at {Path.cwd()})"
    where += missing_data_advice(path)
    if storage.is_pattern(path):
        return f"no file matches '{path}'{where}"
    if not storage.is_url(path) and Path(path).is_dir():
        return f"'{path}' is a folder; name its files, for example '{path.rstrip('/')}/*.parquet'"
    return f"there is no file '{path}'{where}"


def format_of(table: Table, path: str, key: str) -> str:
    """Format of one file: csv, parquet or jsonl.

    Raises:
      ConfigurationError: a Parquet file is compressed from outside.
    """
    inner, compressed = _without_compression(path)
    found: str = table.format
    if found == "auto":
        found = _FORMATS.get(PurePosixPath(inner.lower()).suffix, "csv")
    if found == "parquet" and compressed:
        raise ConfigurationError(
            f"{key}: {path}: Parquet files are compressed inside and read out of order; unpack it"
        )
    return found


def separator_of(table: Table, path: str) -> str:
    """What stands between the fields of a CSV file: as configured, else by its name."""
    if table.separator is not None:
        return table.separator
    inner, _ = _without_compression(path)
    return "\t" if inner.lower().endswith(".tsv") else ","


def _without_compression(path: str) -> tuple[str, bool]:
    for suffix in COMPRESSED_SUFFIXES:
        if path.endswith(suffix):
            return path.removesuffix(suffix), True
    return path, False
