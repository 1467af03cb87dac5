"""history.csv: one line per finished epoch, readable while training runs."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from configs.training import Training


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


def still_rises(rows: Sequence[Mapping[str, float]], metric: str, training: Training) -> bool:
    """Whether `training.epochs` ended a training whose validation result had not come to rest.

    Its last epoch is then the best one, or better than the one before, and patience was left.

    Args:
      rows: of history.csv.
      metric: by which the best epoch was chosen.
      training: bound on epochs, and patience.
    """
    values = [row[f"validation_{metric}"] for row in rows]
    since_best = len(values) - 1 - values.index(max(values))
    if len(values) < training.epochs or since_best >= max(training.patience, 1):
        return False
    return since_best == 0 or values[-1] > values[-2]


def undertrained_text(training: Training) -> str:
    """What a run that `still_rises` is told about."""
    return (
        "validation still rose when training ended after training.epochs="
        f"{training.epochs}; more epochs, or another learning rate, may give a better model, and a "
        "baseline that is not trained to its end flatters what is compared with it"
    )
