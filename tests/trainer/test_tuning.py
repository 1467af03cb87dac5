from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from configs.command_line import CommandError
from configs.experiment import SearchRange
from configs.loading import ConfigurationError, override_scenario
from tests.runs import write_run
from tests.scenarios import tiny_scenario
from tests.trainer.searches import SPACE, MadeUpTraining, diverging_at, failing_at
from trainer.run_folder import RunMetrics
from trainer.tuning import Study, Trial, best_trial, claim_folder, study_identity

TRIALS = 12


def study_in(folder: Path, seed: int = 5, **options: bool) -> Study:
    return Study(folder, tiny_scenario(), SPACE, seed, **options)


def searched(folder: Path, trials: int = TRIALS, seed: int = 5) -> list[Trial]:
    study = study_in(folder, seed)
    study.run(trials, MadeUpTraining())
    return study.trials


def test_a_search_gets_better_and_ends_with_the_trials_asked_for(tmp_path: Path) -> None:
    trials = searched(tmp_path / "study", trials=20)
    assert [trial.number for trial in trials] == list(range(1, 21))
    assert {trial.state for trial in trials} == {"complete"}
    best = best_trial(trials)
    assert best is not None and best.value == max(trial.value or 0 for trial in trials)
    assert best.value > (trials[0].value or 0) + 0.01
    late = [trial.value or 0 for trial in trials[14:]]
    early = [trial.value or 0 for trial in trials[1:10]]
    assert sum(late) / len(late) > sum(early) / len(early)
    assert all(set(trial.settings) == set(SPACE) for trial in trials)
    assert trials[4].run == tmp_path / "study" / "trial0005"


def test_the_first_trial_has_the_scenarios_own_settings(tmp_path: Path) -> None:
    first = searched(tmp_path, trials=1)[0]
    assert first.settings == {
        "training.learning_rate": 0.01,
        "model.dropout_rate": 0.2,
        "training.batch_size": 128,
    }


def test_the_seed_decides_what_is_tried(tmp_path: Path) -> None:
    first, again, other = (
        [trial.settings for trial in searched(tmp_path / name, trials=4, seed=seed)]
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert first == again
    assert first[0] == other[0] and first[1:] != other[1:]


def test_an_interrupted_search_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    unbroken = searched(tmp_path / "unbroken")
    study = study_in(tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        study.run(TRIALS, MadeUpTraining(failing_at(11, KeyboardInterrupt)))
    assert len(study.trials) == 10
    resumed = study_in(tmp_path / "broken")
    training = MadeUpTraining()
    resumed.run(TRIALS, training)
    assert training.calls == 2
    assert [trial.settings for trial in resumed.trials] == [trial.settings for trial in unbroken]
    assert [trial.value for trial in resumed.trials] == [trial.value for trial in unbroken]


def test_more_trials_go_on_from_the_end(tmp_path: Path) -> None:
    searched(tmp_path / "grown", trials=4)
    grown = searched(tmp_path / "grown", trials=12)
    assert grown == [
        Trial(**{**vars(trial), "run": tmp_path / "grown" / trial.run.name})
        for trial in searched(tmp_path / "whole", trials=12)
    ]


def test_settings_that_cannot_be_trained_count(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    told: list[Trial] = []
    study.run(3, MadeUpTraining(diverging_at(2)), told.append)
    assert study.trials == told
    failed = told[1]
    assert (failed.state, failed.value, failed.reason) == ("failed", None, "the loss is nan")
    assert [trial.state for trial in study_in(tmp_path).trials] == [
        "complete",
        "failed",
        "complete",
    ]


def test_values_that_do_not_go_together_count_as_a_failure(tmp_path: Path) -> None:
    space = {
        "model.adapter": SearchRange(choices=("none", "linear")),
        "model.factor_gate": SearchRange(choices=(True,)),
    }
    study = Study(tmp_path, tiny_scenario(), space, seed=1)
    study.run(6, MadeUpTraining())
    assert {(trial.settings["model.adapter"], trial.state) for trial in study.trials} == {
        ("none", "complete"),
        ("linear", "failed"),
    }
    failed = next(trial for trial in study.trials if trial.state == "failed")
    assert "model.factor_gate weighs sources of one entity" in failed.reason


def test_other_errors_end_the_search_and_do_not_count(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    with pytest.raises(OSError, match="disk full"):
        study.run(3, MadeUpTraining(failing_at(2, OSError("disk full"))))
    assert len(study.trials) == 1
    study.run(3, MadeUpTraining())
    assert [trial.number for trial in study.trials] == [1, 2, 3]


def test_an_error_of_the_data_does_not_count(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    with pytest.raises(ConfigurationError, match="other files"):
        study.run(3, MadeUpTraining(failing_at(2, ConfigurationError("built from other files"))))
    assert [trial.state for trial in study_in(tmp_path).trials] == ["complete"]


def test_a_result_that_is_no_number_is_a_failure(tmp_path: Path) -> None:
    def train(scenario: object, on_epoch: object) -> RunMetrics:
        metrics = MadeUpTraining()(tiny_scenario(), [])
        return RunMetrics(**{**metrics, "validation": {"auc": math.nan}})

    study = study_in(tmp_path)
    study.run(1, train)
    assert (study.trials[0].state, study.trials[0].reason) == ("failed", "validation auc is nan")
    assert best_trial(study.trials) is None


def test_a_run_that_ended_before_its_trial_did_is_not_trained_again(tmp_path: Path) -> None:
    settings = {"model.adapter": "none", "run_dir": str(tmp_path / "trial0001")}
    scenario = override_scenario(tiny_scenario(), settings)
    (tmp_path / ".lock").touch()
    study = Study(tmp_path, scenario, SPACE, seed=5)
    write_run(scenario)
    training = MadeUpTraining()
    study.run(2, training)
    assert training.calls == 1
    assert study.trials[0].value == 0.75


def test_folders_of_any_name_have_studies_of_their_own(tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in ("tuning?v1", "tuning?v2%20"))
    # The first trial has the scenario's own settings.
    settings = [searched(folder, 2, seed)[1].settings for folder, seed in ((first, 5), (second, 6))]
    assert settings[0] != settings[1]
    assert [searched(first, 2)[1].settings, searched(second, 2, 6)[1].settings] == settings
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tuning?v1", "tuning?v2%20"]


def test_bad_trials_are_ended_early(tmp_path: Path) -> None:
    study = study_in(tmp_path, prune=True)
    training = MadeUpTraining(epochs=3)
    study.run(14, training)
    pruned = [trial for trial in study.trials if trial.state == "pruned"]
    assert pruned and len(training.trained) == 14 - len(pruned)
    assert "was below the median of the trials before" in pruned[0].reason
    assert pruned[0].number >= 6
    assert not any("after epoch 1 " in trial.reason for trial in pruned)
    complete = [trial.value or 0 for trial in study.trials if trial.state == "complete"]
    assert best_trial(study.trials) is not None and max(complete) > 0.85


def test_the_best_is_the_earliest_of_equals() -> None:
    def trial(number: int, value: float | None) -> Trial:
        return Trial(number, {}, "failed" if value is None else "complete", value, 1.0, "", Path())

    trials = [trial(1, 0.5), trial(2, None), trial(3, 0.7), trial(4, 0.7)]
    assert best_trial(trials) is trials[2]
    assert best_trial([]) is None


IDENTITY = {"seed": 1, "space": {"a": [1, 2]}}


def test_a_folder_that_is_claimed_may_be_claimed_again(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "study"
    claim_folder(folder, IDENTITY, restart=False)
    (folder / "trial0001").mkdir()
    claim_folder(folder, IDENTITY, restart=True)
    assert (folder / "trial0001").exists()


def test_a_study_of_something_else_is_not_mixed_in(tmp_path: Path) -> None:
    claim_folder(tmp_path, IDENTITY, restart=False)
    (tmp_path / "trial0001").mkdir()
    (tmp_path / "study.db").touch()
    other = {**IDENTITY, "seed": 2}
    with pytest.raises(CommandError, match=r"changed: seed\), whose trials cannot be compared"):
        claim_folder(tmp_path, other, restart=False)
    assert (tmp_path / "trial0001").exists()
    claim_folder(tmp_path, other, restart=True)
    assert [path.name for path in tmp_path.iterdir()] == ["study.json"]
    assert json.loads((tmp_path / "study.json").read_text()) == other


def test_other_peoples_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / "trial0_notes.txt").write_text("mine")
    with pytest.raises(CommandError, match="holds other files than a study's"):
        claim_folder(tmp_path, IDENTITY, restart=True)
    assert (tmp_path / "trial0_notes.txt").read_text() == "mine"


def test_settings_space_seed_data_and_code_make_a_study() -> None:
    identity = study_identity(tiny_scenario(), SPACE, 1)
    assert set(identity) == {"settings", "space", "seed", "data", "code_version"}
    space = {"model.dropout_rate": SearchRange(low=0, high=0.5)}
    assert study_identity(tiny_scenario(), space, 1) != identity
    assert study_identity(tiny_scenario(training__epochs=7), SPACE, 1) != identity
    assert study_identity(tiny_scenario(experiment__seeds=[7]), SPACE, 1) == identity
