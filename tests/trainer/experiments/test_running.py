from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from configs.command_line import CommandError
from configs.loading import ConfigurationError, load_scenario, override_scenario
from configs.scenario import Scenario
from tests.scenarios import copied_scenario
from tests.trainer.experiments.synthetic_training import (
    MadeUpTraining,
    baseline_tuned,
    is_run,
    one_backbone,
    tuned,
)
from tests.trainer.report.synthetic import helpful_report, synthetic_scenario
from trainer.experiments import trainers
from trainer.experiments.results import ExperimentResult
from trainer.experiments.running import (
    comparisons_of,
    resamples_needed,
    run_experiment,
    smallest_adjusted_p,
)
from trainer.model_kinds import NotFiniteError
from trainer.predictions import compare_predictions
from trainer.run_folder import RunFolder
from trainer.significance import holm


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
    assert "synthetic_training.py" in result.failures[0].reason
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


def test_every_cell_has_the_same_budget_and_its_best_settings_are_trained_with_every_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = MadeUpTraining().use(monkeypatch)
    result = run_experiment(tuned(), tmp_path)
    assert [one.knowledge for one in result.tuning] == ["none", "hein_match"]
    tried = [[trial.settings for trial in one.trials] for one in result.tuning]
    # Before results can make a difference, all cells try the same.
    assert tried[0] == tried[1] and len(tried[0]) == 3
    assert tried[0][0] == {"training.learning_rate": 0.01}
    for one in result.tuning:
        best = max(one.trials, key=lambda trial: trial.value or 0)
        assert one.settings == best.settings
        for run in result.runs_of("din", one.knowledge):
            actual = RunFolder(run.folder).read_scenario()
            assert actual.training.learning_rate == best.settings["training.learning_rate"]
            assert actual.training.seed == run.seed
            assert RunFolder(run.folder).read_metrics()["run"] == str(run.folder)
        trials = [RunFolder(trial.run).read_scenario().training.seed for trial in one.trials]
        assert trials == [1, 1, 1]
    # The first seed's run is that of the best trial and is not trained again.
    assert training.trained == [
        *(f"din_none/trial000{number}" for number in (1, 2, 3)),
        "runs/din_none_seed2",
        *(f"din_hein_match/trial000{number}" for number in (1, 2, 3)),
        "runs/din_hein_match_seed2",
    ]


def test_settings_that_diverge_cost_a_trial_and_other_errors_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(scenario: Scenario) -> None:
        if is_run(scenario, "trial0002"):
            raise NotFiniteError("the loss is nan")
        if str(scenario.run_dir).endswith("hein_match/trial0003"):
            raise OSError("no space left on device")

    MadeUpTraining(fail).use(monkeypatch)
    result = run_experiment(tuned(), tmp_path)
    (none,) = result.tuning
    assert [trial.state for trial in none.trials] == ["complete", "failed", "complete"]
    assert none.trials[1].reason == "the loss is nan"
    assert [(one.knowledge, one.what, one.reason) for one in result.failures] == [
        ("hein_match", "tuning", "no space left on device")
    ]
    assert {run.knowledge for run in result.runs} == {"none"}
    again = MadeUpTraining().use(monkeypatch)
    assert run_experiment(tuned(), tmp_path).failures == []
    assert again.trained == ["din_hein_match/trial0003", "runs/din_hein_match_seed2"]


def test_settings_none_of_which_can_be_trained_are_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(scenario: Scenario) -> None:
        raise NotFiniteError("the loss is nan")

    MadeUpTraining(fail).use(monkeypatch)
    with pytest.raises(CommandError, match="no trial has a result. The last one: the loss is nan"):
        run_experiment(tuned(), tmp_path)


def test_a_smaller_budget_takes_the_first_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = MadeUpTraining().use(monkeypatch)
    larger = run_experiment(tuned(), tmp_path)
    training.trained.clear()
    smaller = run_experiment(tuned(**{"experiment__tuning__trials": 2}), tmp_path)
    for before, after in zip(larger.tuning, smaller.tuning, strict=True):
        assert [trial.settings for trial in after.trials] == [
            trial.settings for trial in before.trials[:2]
        ]
    assert not any("trial" in name for name in training.trained)


def test_the_baseline_is_tuned_first_and_all_arms_have_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = MadeUpTraining().use(monkeypatch)
    result = run_experiment(baseline_tuned(), tmp_path)
    (search,) = result.tuning
    assert (search.knowledge, len(search.trials)) == ("none", 3)
    actual = search.settings["training.learning_rate"]
    assert actual != 0.01
    for run in result.runs:
        assert RunFolder(run.folder).read_scenario().training.learning_rate == actual
        assert result.settings_of("din", run.knowledge) == search.settings
    # Nothing is compared before the search has ended, and the test part has no say in it.
    assert training.trained[:3] == [f"din_none/trial000{number}" for number in (1, 2, 3)]
    assert {name for name, trained in training.tested if trained < len(training.trained)} == set()
    again = MadeUpTraining().use(monkeypatch)
    assert run_experiment(baseline_tuned(), tmp_path).tuning == result.tuning
    assert again.trained == []


def test_without_settings_of_the_baseline_no_arm_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(scenario: Scenario) -> None:
        if is_run(scenario, "trial0002"):
            raise OSError("no space left on device")

    MadeUpTraining(fail).use(monkeypatch)
    with pytest.raises(CommandError, match="2 parts of the experiment failed"):
        run_experiment(baseline_tuned(), tmp_path)


def test_both_searches_at_once_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="set the trials of one of them to 0"):
        tuned(experiment__tune_baseline={"trials": 2, "space": {}})


def test_every_arm_is_compared_with_the_baseline_of_its_backbone() -> None:
    report = helpful_report()
    actual = comparisons_of(report.scenario, report.experiment.runs)
    assert {(one.backbone, one.knowledge) for one in actual} == {
        (backbone, arm) for backbone in ("din", "dcnv2") for arm in ("hein", "hein_match")
    }
    for one in actual:
        none, arm = (
            [run.predictions for run in report.experiment.runs_of(one.backbone, name)]
            for name in ("none", one.knowledge)
        )
        assert one.difference == compare_predictions(none, arm, 200, 0)["auc"]
    adjusted = holm([one.difference.p_value for one in actual])
    assert [one.adjusted_p for one in actual] == adjusted


def test_another_baseline_may_be_chosen() -> None:
    report = helpful_report()
    scenario = override_scenario(report.scenario, {"experiment.baseline": "hein"})
    actual = comparisons_of(scenario, report.experiment.runs)
    assert {one.knowledge for one in actual} == {"none", "hein_match"}
    against_none = {one.knowledge: one.difference for one in report.comparisons[:2]}
    (none,) = [one for one in actual if (one.backbone, one.knowledge) == ("din", "none")]
    assert none.difference.difference == pytest.approx(-against_none["hein"].difference)


def test_a_backbone_without_the_baseline_is_compared_with_nothing() -> None:
    report = helpful_report()
    runs = [
        run for run in report.experiment.runs if (run.backbone, run.knowledge) != ("din", "none")
    ]
    actual = comparisons_of(report.scenario, runs)
    assert {one.backbone for one in actual} == {"dcnv2"}


@pytest.mark.parametrize(("resamples", "comparisons"), [(39, 1), (40, 1), (159, 4), (160, 4)])
def test_too_few_resamples_are_known_beforehand(resamples: int, comparisons: int) -> None:
    scenario = synthetic_scenario(resamples=resamples)
    smallest = smallest_adjusted_p(scenario, comparisons)
    assert smallest == pytest.approx(comparisons * 2 / (resamples + 1))
    assert (smallest < 0.05) == (resamples >= resamples_needed(comparisons))
