"""history.csv: one line per finished epoch, readable while training runs."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path


class HistoryFile:
    """Writes a line for every row it is called with."""

    def __init__(self, path: Path):
        """Starts a new file, which takes the place of an old one at the first row."""
        self._path = path
        self._columns: list[str] = []

    def __call__(self, row: Mapping[str, float]) -> None:
        """Appends a row.

        Raises:
          ValueError: it has other columns than the first one.
        """
        columns = self._columns or list(row)
        different = sorted({*row} ^ {*columns})
        if different:
            raise ValueError(
                f"{self._path}: a row has other columns than the first: {', '.join(different)}"
            )
        with self._path.open("a" if self._columns else "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=columns)
            if not self._columns:
                writer.writeheader()
            writer.writerow(row)
        self._columns = columns
