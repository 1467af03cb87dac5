from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from configs.loading import ConfigurationError, load_scenario
from configs.scenario import Scenario
from tests.scenarios import copied_scenario
from tests.trainer.experiments.made_up_training import (
    MadeUpTraining,
    is_run,
    one_backbone,
    tuned,
)
from trainer.experiments import trainers
from trainer.experiments.results import ExperimentResult
from trainer.experiments.running import run_experiment
from trainer.run_folder import RunFolder


@functools.cache
def small_experiment() -> tuple[Scenario, Path, ExperimentResult]:
    """DIN, two arms, one epoch, really trained."""
    folder = Path(tempfile.mkdtemp(prefix="experiment_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    scenario = copied_scenario(folder, experiment__backbones=["din"], training__epochs=1)
    return scenario, folder / "out", run_experiment(scenario, folder / "out")


def test_all_cells_are_trained_tested_and_compared() -> None:
    scenario, folder, result = small_experiment()
    assert [(run.backbone, run.knowledge, run.seed) for run in result.runs] == [
        ("din", "none", 1),
        ("din", "hein_match", 1),
    ]
    for run in result.runs:
        written = RunFolder(run.folder)
        assert run.folder == folder / "runs" / f"din_{run.knowledge}_seed1"
        assert run.validation == written.read_metrics()["validation"]
        assert run.history == written.read_history() and len(run.history) == run.epochs == 1
        assert run.test == run.predictions.metrics() and not run.reused
        assert run.trainable_weights == written.read_metrics()["trainable_weights"]
    (comparison,) = result.comparisons
    assert (comparison.backbone, comparison.knowledge) == ("din", "hein_match")
    none, match = (run.test["auc"] for run in result.runs)
    assert comparison.difference.baseline == pytest.approx(none)
    assert comparison.difference.difference == pytest.approx(match - none)
    assert comparison.adjusted_p == comparison.difference.p_value
    assert (result.failures, list(result.tuning)) == ([], [])
    assert load_scenario(folder / "experiment.yaml") == scenario


def test_finished_runs_are_used_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario, folder, first = small_experiment()
    training = MadeUpTraining()
    monkeypatch.setattr(trainers, "train", training.train)
    capsys.readouterr()
    again = run_experiment(scenario, folder)
    assert training.trained == []
    assert capsys.readouterr().err.count("(already trained)") == 2
    for old, new in zip(first.runs, again.runs, strict=True):
        assert new.reused
        assert (new.test, new.validation) == (old.test, old.validation)
        np.testing.assert_array_equal(new.predictions.scores, old.predictions.scores)
    assert again.comparisons == first.comparisons


def test_an_interrupted_experiment_goes_on_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = MadeUpTraining().use(monkeypatch)
    expected = run_experiment(tuned(), tmp_path / "unbroken")

    def interrupt(scenario: Scenario) -> None:
        if str(scenario.run_dir).endswith("din_hein_match/trial0002"):
            raise KeyboardInterrupt

    first = MadeUpTraining(interrupt).use(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(tuned(), tmp_path / "broken")
    second = MadeUpTraining().use(monkeypatch)
    resumed = run_experiment(tuned(), tmp_path / "broken")
    assert first.trained + second.trained == unbroken.trained
    for old, new in zip(expected.tuning, resumed.tuning, strict=True):
        assert [trial.settings for trial in new.trials] == [trial.settings for trial in old.trials]
    for before, after in zip(expected.runs, resumed.runs, strict=True):
        assert (after.validation, after.test) == (before.validation, before.test)


def test_a_failed_run_does_not_stop_the_others_and_is_done_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(scenario: Scenario) -> None:
        if is_run(scenario, "din_hein_match_seed1"):
            raise RuntimeError("a bug\nin the middle")
        if is_run(scenario, "din_wide_seed2"):
            raise OSError("no space left on device")

    arms = {"wide": {"overrides": {"model.adapter": "none", "model.top_units": [32]}}}
    scenario = one_backbone()
    arms = {**scenario.model_dump()["experiment"]["arms"], **arms}
    scenario = one_backbone(experiment__arms=arms)
    MadeUpTraining(fail).use(monkeypatch)
    result = run_experiment(scenario, tmp_path)
    assert {run.knowledge for run in result.runs} == {"none"}
    assert result.comparisons == []
    assert [(one.knowledge, one.what) for one in result.failures] == [
        ("hein_match", "seed 1"),
        ("wide", "seed 2"),
    ]
    assert result.failures[0].reason.endswith("RuntimeError: a bug\nin the middle")
    assert "made_up_training.py" in result.failures[0].reason
    assert result.failures[1].reason == "no space left on device"
    assert "din_hein_match, seed 1: FAILED" in capsys.readouterr().err
    repaired = MadeUpTraining().use(monkeypatch)
    whole = run_experiment(scenario, tmp_path)
    assert repaired.trained == ["runs/din_hein_match_seed1", "runs/din_wide_seed2"]
    assert whole.failures == [] and len(whole.comparisons) == 2


def test_the_test_part_is_read_once_per_run_after_everything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = MadeUpTraining().use(monkeypatch)
    run_experiment(one_backbone(), tmp_path)
    assert training.tested == [
        (f"din_{arm}_seed{seed}", 4) for arm in ("none", "hein_match") for seed in (1, 2)
    ]


def test_nothing_is_trained_before_all_is_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = MadeUpTraining()
    monkeypatch.setattr(trainers, "train", training.train)
    with pytest.raises(ConfigurationError, match="needs an arm called 'none'"):
        run_experiment(one_backbone(experiment__arms={"hein": {}}), tmp_path)
    wrong = {
        "none": {"overrides": {"model.adapter": "none"}},
        "odd": {"overrides": {"model.embedding_dimension": 5}},
    }
    with pytest.raises(ConfigurationError, match="arm 'odd' of 'din': the model cannot be built"):
        run_experiment(one_backbone(experiment__arms=wrong), tmp_path)
    assert training.trained == []


def test_marks_that_cannot_be_are_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    MadeUpTraining().use(monkeypatch)
    scenario = one_backbone(evaluation__bootstrap_resamples=39, experiment__seeds=[1])
    run_experiment(scenario, tmp_path)
    assert (
        "evaluation.bootstrap_resamples=39 are too few for significance marks on 1 comparisons; 40"
        in capsys.readouterr().err
    )
