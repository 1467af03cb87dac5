from __future__ import annotations

from pathlib import Path

import pytest

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from tests.trainer.experiments.made_up_training import (
    MadeUpTraining,
    baseline_tuned,
    is_run,
    tuned,
)
from trainer.experiments.running import run_experiment
from trainer.prediction import NotFiniteError
from trainer.run_folder import RunFolder


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
            found = RunFolder(run.folder).read_scenario()
            assert found.training.learning_rate == best.settings["training.learning_rate"]
            assert found.training.seed == run.seed
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
    found = search.settings["training.learning_rate"]
    assert found != 0.01
    for run in result.runs:
        assert RunFolder(run.folder).read_scenario().training.learning_rate == found
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
