from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from tests.trainer.experiments.test_progress import experiment, metrics_of, trial
from trainer.experiments.progress import Progress, displayed, progress_table


def make(say: Callable[[str], None]) -> Progress:
    scenario, cells = experiment()
    return Progress(scenario, cells, 1, say)


def shown(progress: Progress) -> list[list[str]]:
    """The cells of the table as a wide terminal shows them, row by row."""
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(progress_table(progress))
    rows = [line for line in console.export_text().splitlines() if "│" in line]
    return [[cell.strip() for cell in row.strip("│").split("│")] for row in rows]


def test_the_table_has_a_row_per_cell() -> None:
    progress = make(lambda line: None)
    _, (din, dcnv2, hein, _) = experiment()
    progress.trial(din, trial(1, 0.71))
    progress.trial(din, trial(2, 0.70))
    progress.run(din, "seed 1", metrics_of(0.75, 10), reused=False)
    progress.run(din, "seed 2", metrics_of(0.77, 10), reused=False)
    progress.begin(dcnv2, "trial 1")
    progress.epoch(dcnv2, "trial 1", {"epoch": 1, "train_loss": 0.5, "validation_auc": 0.69})
    progress.failure(hein, "seed 1", "killed")
    assert shown(progress) == [
        ["din", "none", "2/2", "0.7100", "2/2", "0.7600 ± 0.0141", ""],
        ["dcnv2", "none", "0/2", "–", "0/2", "–", "trial 1, epoch 1: AUC 0.6900"],
        ["din", "hein", "0/2", "–", "0/2", "–", "seed 1 failed"],
        ["dcnv2", "hein", "0/2", "–", "0/2", "–", ""],
    ]
    assert progress_table(progress).title == ("5 of 16 trainings, 1 failed, about 2 min left")


def test_elsewhere_than_on_a_terminal_lines_are_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, cells = experiment()
    with displayed(make) as progress:
        progress.run(cells[0], "seed 1", metrics_of(0.75, 10), reused=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("[1/16] din_none, seed 1: validation AUC 0.7500")
    assert "\x1b" not in captured.err


def test_on_a_terminal_there_is_a_table_and_failures_stay_above_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    _, cells = experiment()
    with displayed(make, terminal=True) as progress:
        progress.run(cells[0], "seed 1", metrics_of(0.75, 10), reused=False)
        progress.failure(cells[1], "seed 1", "out of [memory]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "dcnv2_none, seed 1: FAILED" in captured.err and "out of [memory]" in captured.err
    assert "2 of 16 trainings, 1 failed" in captured.err and "0.7500" in captured.err
    assert "[1/16] din_none" not in captured.err
