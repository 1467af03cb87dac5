"""Vocabularies: text files with one value a line, most frequent first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from preprocessing import storage
from preprocessing.records.errors import DamagedRecords


def order_by_count(counts: Mapping[str, int]) -> list[str]:
    """Values by count, highest first; equal counts in text order."""
    return sorted(counts, key=lambda value: (-counts[value], value))


def write_vocabulary(path: str | Path, values: Iterable[str]) -> None:
    """Writes one value a line, UTF-8."""
    with storage.create_bytes(str(path)) as file:
        file.write("".join(f"{value}\n" for value in values).encode())


def read_vocabulary(path: Path) -> list[str]:
    """Reads what `write_vocabulary` wrote.

    Raises:
      DamagedRecords: the file is missing, not UTF-8, cut off, or names a value twice.
    """
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedRecords(
            f"{path}: cannot be read ({error}); run 'python -m preprocessing examples' first"
        ) from error
    if not text:
        return []
    if not text.endswith("\n"):
        raise DamagedRecords(f"{path}: the last line is cut off")
    values = text[:-1].split("\n")
    if len(set(values)) != len(values):
        raise DamagedRecords(f"{path}: a value occurs twice")
    return values
