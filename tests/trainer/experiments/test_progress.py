from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from configs.scenario import Scenario
from tests.trainer.experiments.test_arms import scenario_with
from trainer.experiments.grid import Cell, experiment_cells
from trainer.experiments.progress import TUNING, Progress, duration_text
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
