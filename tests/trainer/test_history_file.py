from __future__ import annotations

import csv
from pathlib import Path

import pytest

from configs.training import Training
from trainer.training_loop import HistoryFile, still_rises

ROWS = [
    {"epoch": 1, "train_loss": 1 / 3, "validation_auc": 0.1 + 0.2},
    {"epoch": 2, "train_loss": 1e-17, "validation_auc": 0.75},
]


def read(path: Path) -> list[dict[str, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_every_row_is_there_as_soon_as_it_was_told(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    history = HistoryFile(path)
    assert not path.exists()
    for count, row in enumerate(ROWS, start=1):
        history(row)
        assert read(path) == ROWS[:count]
    assert path.read_text().splitlines()[0] == "epoch,train_loss,validation_auc"


def test_a_new_file_takes_the_place_of_an_old_one_at_its_first_row(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("epoch,accuracy,longer\n1,2,3\n4,5,6\n")
    history = HistoryFile(path)
    assert "accuracy" in path.read_text()
    history(ROWS[0])
    assert read(path) == ROWS[:1]


def test_columns_are_those_of_the_first_row_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    history = HistoryFile(path)
    history(ROWS[0])
    history(dict(reversed(ROWS[1].items())))
    assert read(path) == ROWS


@pytest.mark.parametrize(
    "row",
    [{"epoch": 2, "train_loss": 0.5}, {**ROWS[1], "validation_gauc": 0.5}],
    ids=["one less", "one more"],
)
def test_a_row_with_other_columns_is_refused_and_not_written(tmp_path: Path, row) -> None:
    path = tmp_path / "history.csv"
    history = HistoryFile(path)
    history(ROWS[0])
    with pytest.raises(ValueError, match=r"other columns than the first: (train|validation)_"):
        history(row)
    assert read(path) == ROWS[:1]


@pytest.mark.parametrize(
    ("values", "epochs", "patience", "expected"),
    [
        ([0.70], 1, 2, True),
        ([0.70, 0.72, 0.73], 3, 2, True),
        ([0.70, 0.74, 0.72, 0.73], 4, 3, True),
        ([0.70, 0.74, 0.73], 3, 2, False),
        # Patience ended it, at an earlier epoch or at the last one.
        ([0.70, 0.74, 0.71, 0.73], 9, 2, False),
        ([0.70, 0.74, 0.71, 0.73], 4, 2, False),
        ([0.70, 0.70], 2, 2, False),
    ],
)
def test_a_validation_that_still_rises_at_the_last_epoch(
    values: list[float], epochs: int, patience: int, expected: bool
) -> None:
    rows = [{"validation_auc": value} for value in values]
    assert still_rises(rows, "auc", Training(epochs=epochs, patience=patience)) is expected
