from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.scenario import Scenario
from tests.scenarios import tiny_config, tiny_scenario
from tests.trainer.experiments.synthetic_training import MadeUpTraining, is_run
from trainer.__main__ import main
from trainer.report import render as report

OVERRIDES = ("experiment.backbones=[din]", "experiment.seeds=[1, 2]")


def dry_run(*more: str) -> list[str]:
    return ["experiment", "--config", str(tiny_config()), *OVERRIDES, "--dry-run", *more]


def arguments(folder: Path, *more: str) -> list[str]:
    return ["experiment", "--config", str(tiny_config()), "--out", str(folder), *OVERRIDES, *more]


@pytest.fixture(autouse=True)
def _no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up runs have no checkpoint whose gates could be read."""
    monkeypatch.setattr(report, "mean_gates", lambda experiment: {})


def test_an_experiment_leaves_runs_and_a_report(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = MadeUpTraining().use(monkeypatch)
    code, output, told = run(*arguments(tmp_path, "--json"))
    result = json.loads(output)
    assert code == 0 and set(result) == {
        *("experiment", "report", "results", "runs", "metric", "comparisons", "failures"),
        "warnings",
    }
    assert (result["experiment"], result["runs"], result["metric"]) == (str(tmp_path), 4, "auc")
    (comparison,) = result["comparisons"]
    assert comparison["knowledge"] == "hein_match" and "p_value_holm" in comparison
    assert json.loads(Path(result["results"]).read_text())["comparisons"] == [comparison]
    assert Path(result["report"]).is_file() and len(training.trained) == 4
    assert "[4/4] din_hein_match, seed 2: validation AUC" in told
    assert "| din | hein_match |" in told
    code, _, told = run(*arguments(tmp_path, "--json"))
    assert (code, len(training.trained), told.count("(already trained)")) == (0, 4, 4)


def test_a_failed_run_is_exit_code_1_with_what_there_is(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(scenario: Scenario) -> None:
        if is_run(scenario, "din_hein_match_seed2"):
            raise OSError("no space left on device")

    MadeUpTraining(fail).use(monkeypatch)
    code, output, told = run(*arguments(tmp_path, "--json"))
    result = json.loads(output)
    assert (code, result["runs"], result["comparisons"]) == (1, 2, [])
    (failure,) = result["failures"]
    assert (failure["what"], failure["reason"]) == ("seed 2", "no space left on device")
    assert "error: 1 part of the experiment failed:" in told
    assert "The same command does what is missing" in told
    assert "no space left on device" in (tmp_path / "report" / "report.html").read_text()


def test_a_dry_run_lists_the_cells(run, monkeypatch: pytest.MonkeyPatch) -> None:
    training = MadeUpTraining().use(monkeypatch)
    tuning = "{trials: 5, space: {model.dropout_rate: {low: 0, high: 0.5}}}"
    threads = ["--processes", "2", "experiment.threads_per_process=1"]
    code, output, told = run(*dry_run("--json", f"experiment.tuning={tuning}", *threads))
    folder = Path(tiny_scenario().work_dir) / "experiments" / "tiny"
    assert code == 0 and json.loads(output) == {
        "experiment": str(folder),
        "cells": ["din_none", "din_hein_match"],
        "trainings": 14,
        "missing": [],
    }
    assert "2 cells, each with 5 trials and 2 seeds: 14 trainings of at most 2 epochs" in told
    assert training.trained == []


def test_a_dry_run_counts_the_trials_of_baselines(run, monkeypatch: pytest.MonkeyPatch) -> None:
    MadeUpTraining().use(monkeypatch)
    tuning = "{trials: 5, space: {training.epochs: {low: 1, high: 7}}}"
    code, _, told = run(*dry_run(f"experiment.tune_baseline={tuning}"))
    counted = "1 baselines with 5 trials, 2 cells with 2 seeds: 9 trainings of at most 7 epochs"
    assert code == 0 and counted in told


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("experiment.adapters=[none, hain]", "experiment.adapters"),
        ("experiment.seed=[1]", "Did you mean 'experiment.seeds'"),
        ("experiment.baseline=plain", "needs an arm called 'plain'"),
        ("data.interactions.path=a.csv", "data.interactions.path: 'a.csv' is asked for, but"),
        ("experiment.backbones=[din, prm]", "are of different kinds"),
        ("training.distribution=parameter_server", "an experiment trains each of its models"),
        ("experiment.threads_per_process=2", "has no effect with experiment.processes=1"),
    ],
)
def test_grids_that_make_no_sense_are_wrong_configuration(
    run, override: str, reason: str, tmp_path: Path
) -> None:
    code, output, told = run(*arguments(tmp_path, override, "--json"))
    assert (code, output) == (2, "") and reason in told


@pytest.mark.parametrize("option", [["--processes", "0"], ["--tracking", "wandb:x"]])
def test_wrong_options_are_wrong_usage(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments(tmp_path, *option))
    assert ended.value.code == 2
    assert option[0] in capsys.readouterr().err


def test_a_dry_run_says_what_data_is_missing(run, tmp_path: Path) -> None:
    code, output, told = run(*dry_run("--json", f"work_dir={tmp_path}"))
    missing = json.loads(output)["missing"]
    assert code == 0 and missing[0] == "examples"
    assert any("knowledge vectors of 'item' (arms hein_match)" in text for text in missing)
    assert f"missing in {tmp_path}: examples; " in told
    assert "python -m preprocessing all" in told


def test_a_file_is_no_folder_of_an_experiment(run, tmp_path: Path) -> None:
    out = tmp_path / "file"
    out.touch()
    code, output, told = run(*arguments(out, "--dry-run"))
    assert (code, output) == (2, "")
    assert f"--out {out}: this is a file; name a folder" in told
