from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from configs.loading import ConfigurationError
from tests.trainer.synthetic_results import result_of
from trainer.experiments.results import (
    CellFailure,
    CellTuning,
    ExperimentResult,
    failures_text,
)
from trainer.tuning import Trial


def test_the_best_run_is_chosen_on_validation_among_arms_beside_the_baseline() -> None:
    runs = [
        result_of("din", "none", 1, validation=0.9, test=0.9),
        result_of("din", "hein", 1, validation=0.7, test=0.8),
        result_of("din", "hein_match", 1, validation=0.8, test=0.6),
        result_of("din", "hein_match", 2, validation=0.75, test=0.7),
        result_of("dcnv2", "hein", 1, validation=0.85, test=0.8),
    ]
    best = ExperimentResult(runs, []).best_run("din")
    assert best is runs[2]
    renewed = dataclasses.replace(runs[3], validation={**runs[3].validation, "auc": 0.95})
    assert ExperimentResult([*runs, renewed], []).best_run("din") is renewed
    assert ExperimentResult(runs, [], baseline="hein_match").best_run("din") is runs[0]


def test_the_metric_of_selection_decides() -> None:
    runs = [
        dataclasses.replace(
            result_of("din", "hein", seed, validation=auc),
            validation={"auc": auc, "gauc": gauc},
            selection_metric="gauc",
        )
        for seed, auc, gauc in ((1, 0.8, 0.6), (2, 0.7, 0.65))
    ]
    assert ExperimentResult(runs, []).best_run("din") is runs[1]


def test_without_another_arm_there_is_no_best_run() -> None:
    result = ExperimentResult([result_of("din", "none"), result_of("dcnv2", "hein")], [])
    with pytest.raises(ConfigurationError, match="needs an arm besides 'none'"):
        result.best_run("din")


def test_runs_and_settings_of_a_cell_are_found() -> None:
    runs = [result_of("din", "none", 1), result_of("din", "none", 2), result_of("dcnv2", "none")]
    trial = Trial(1, {"training.epochs": 3}, "complete", 0.7, 1.0, "", Path())
    tuned = CellTuning("din", "none", "auc", [trial], trial.settings)
    result = ExperimentResult(runs, [], tuning=[tuned])
    assert result.runs_of("din", "none") == runs[:2]
    assert result.runs_of("dcnv2", "hein") == []
    assert result.settings_of("din", "none") == {"training.epochs": 3}
    assert result.settings_of("dcnv2", "none") == {}
    assert result.metric == "auc"


def test_failures_are_listed_with_all_lines_of_their_reasons() -> None:
    failures = [
        CellFailure("din", "hein", "seed 1", "killed\nby signal 9"),
        CellFailure("din", "none", "tuning", "no trial has a result"),
    ]
    assert failures_text(failures) == (
        "2 parts of the experiment failed:\n"
        "  din, hein, seed 1: killed\n"
        "    by signal 9\n"
        "  din, none, tuning: no trial has a result\n"
        "The same command does what is missing"
    )
    assert failures_text(failures[:1]).startswith("1 part of the experiment failed:")
