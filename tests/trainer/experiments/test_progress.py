from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from configs.scenario import Scenario
from tests.trainer.experiments.test_grid import scenario_with
from trainer.experiments.grid import Cell, experiment_cells
from trainer.experiments.progress import TUNING, Progress, displayed, duration_text, progress_table
from trainer.run_folder import RunMetrics
from trainer.tuning import Trial

SPACE = {"training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}


def experiment() -> tuple[Scenario, list[Cell]]:
    """Four cells with two trials and two seeds each."""
    scenario = scenario_with(
        {
            "backbones": ["din", "dcnv2"],
            "adapters": ["none", "hein"],
            "seeds": [1, 2],
            "tuning": {"trials": 2, "space": SPACE},
        }
    )
    return scenario, experiment_cells(scenario)


def started(processes: int = 1) -> tuple[Progress, list[Cell], list[str]]:
    scenario, cells = experiment()
    lines: list[str] = []
    return Progress(scenario, cells, processes, lines.append), cells, lines


def metrics_of(auc: float, seconds: float) -> RunMetrics:
    return RunMetrics(
        run="runs/x",
        validation={"auc": auc},
        epochs=3,
        selection_metric="auc",
        best_epoch=2,
        train_seconds=seconds,
        train_samples=10,
        trainable_weights=20,
        fingerprint={},
        code_version="1",
    )


def trial(number: int, value: float | None = 0.7, seconds: float = 10.0) -> Trial:
    return Trial(
        number,
        {"training.learning_rate": 0.002},
        "failed" if value is None else "complete",
        value,
        seconds,
        "the loss is nan" if value is None else "",
        Path(),
    )


def test_every_event_is_told_with_its_place_and_the_time_left() -> None:
    progress, (din, *_), lines = started()
    assert (progress.total, progress.seconds_left()) == (16, None)
    progress.begin(din, "trial 1")
    progress.trial(din, trial(1))
    progress.trial(din, trial(2, None, seconds=4.0))
    progress.run(din, "seed 1", metrics_of(0.75, 16.0), reused=False)
    progress.run(din, "seed 2", metrics_of(0.77, 18.0), reused=True)
    assert lines == [
        "[1/16] din_none, trial 1 (training.learning_rate=0.002): validation 0.7000; "
        "about 2 min left",
        "[2/16] din_none, trial 2 (training.learning_rate=0.002): the loss is nan; "
        "about 2 min left",
        "[3/16] din_none, seed 1: validation AUC 0.7500, 3 epochs, 16 s; about 2 min left",
        "[4/16] din_none, seed 2: validation AUC 0.7700, 3 epochs, 18 s (already trained); "
        "about 2 min left",
    ]
    state = progress.cells[0]
    assert (state.trials, state.best_trial, state.validation) == (2, 0.7, [0.75, 0.77])
    assert state.running == {}


def test_the_time_left_comes_from_runs_of_the_same_backbone() -> None:
    progress, (din, dcnv2, *_), _ = started()
    progress.run(din, "seed 1", metrics_of(0.75, 10.0), reused=False)
    # 15 trainings of 10 seconds, for want of any of dcnv2.
    assert progress.seconds_left() == pytest.approx(150)
    progress.run(dcnv2, "seed 1", metrics_of(0.75, 30.0), reused=False)
    # 7 of din at 10 seconds and 7 of dcnv2 at 30.
    assert progress.seconds_left() == pytest.approx(7 * 10 + 7 * 30)
    parallel, (din, *_), _ = started(processes=4)
    parallel.run(din, "seed 1", metrics_of(0.75, 10.0), reused=False)
    assert parallel.seconds_left() == pytest.approx(150 / 4)


def test_what_runs_is_known_by_its_last_epoch() -> None:
    progress, (din, *_), _ = started()
    progress.begin(din, "seed 1")
    assert progress.cells[0].running == {"seed 1": "seed 1"}
    progress.epoch(din, "seed 1", {"epoch": 2, "train_loss": 0.4, "validation_auc": 0.71234})
    assert progress.cells[0].running == {"seed 1": "seed 1, epoch 2: AUC 0.7123"}
    ranks = {"epoch": 1, "train_loss": 0.4, "validation_auc": 0.7, "validation_ndcg_at_10": 0.5}
    progress.epoch(din, "seed 1", ranks)
    assert progress.cells[0].running == {"seed 1": "seed 1, epoch 1: NDCG@10 0.5000"}


def test_a_failed_run_is_told_with_its_reason_and_counts_as_done() -> None:
    progress, (din, *_), lines = started()
    progress.begin(din, "seed 2")
    progress.failure(din, "seed 2", "killed\nout of memory")
    assert lines == ["[1/16] din_none, seed 2: FAILED\n  killed\n  out of memory"]
    assert (progress.cells[0].failures, progress.cells[0].running) == (["seed 2"], {})


def test_without_settings_nothing_of_a_cell_can_be_done() -> None:
    progress, (din, *_), _ = started()
    progress.trial(din, trial(1))
    progress.failure(din, TUNING, "no trial has a result")
    assert progress.done == 4
    assert progress.seconds_left() == pytest.approx(12 * 10)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (7.4, "about 7 s"),
        (95, "about 2 min"),
        (3570, "about 1 h 0 min"),
        (8000, "about 2 h 13 min"),
    ],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_nothing_is_left_at_the_end() -> None:
    progress, cells, _ = started()
    for cell in cells:
        for number in (1, 2):
            progress.trial(cell, trial(number))
            progress.run(cell, f"seed {number}", metrics_of(0.7, 3.0), reused=False)
    assert progress.done == progress.total
    assert progress.seconds_left() == 0
    assert dataclasses.asdict(progress.cells[0])["failures"] == []


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
