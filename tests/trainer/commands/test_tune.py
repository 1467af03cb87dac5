from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.loading import ConfigurationError, load_scenario
from configs.scenario import Scenario
from tests.scenarios import tiny_config, tiny_scenario
from tests.trainer.experiments.synthetic_training import MadeUpTraining, is_run
from trainer.model_kinds import NotFiniteError

RATE = "training.learning_rate=log:1e-4..1"
KEYS = {
    *("study", "metric", "trials", "complete", "failed", "pruned", "best", "best_config"),
    *("trials_csv", "plot"),
}


def arguments(*more: str) -> list[str]:
    return ["tune", "--config", str(tiny_config()), *more]


def test_a_search_leaves_the_best_scenario(
    json_result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = MadeUpTraining().use(monkeypatch)
    ranges = [RATE, "training.batch_size=choice:32,64", "model.top_units=choice:[16,8],[4]"]
    words = arguments("--out", str(tmp_path), "model.adapter=none", *ranges)
    actual = json_result(*words, "--trials", "4")
    assert set(actual) == KEYS
    assert [actual[key] for key in ("metric", "trials", "complete")] == ["auc", 4, 4]
    best = load_scenario(actual["best_config"])
    assert best.training.learning_rate == actual["best"]["settings"]["training.learning_rate"]
    assert list(best.model.top_units) == actual["best"]["settings"]["model.top_units"]
    assert (best.model.adapter, best.run_dir) == ("none", None)
    assert all(Path(actual[key]).is_file() for key in ("trials_csv", "plot"))
    assert load_scenario(f"{actual['best']['run']}/config.yaml").training == best.training
    again = json_result(*words, "--trials", "6")
    assert (again["trials"], len(training.trained)) == (6, 6)
    assert again["best"]["value"] >= actual["best"]["value"]


def test_the_space_may_stand_in_the_scenario(json_result, monkeypatch: pytest.MonkeyPatch) -> None:
    MadeUpTraining().use(monkeypatch)
    space = "{training.learning_rate: {low: 1e-4, high: 1, log: true}}"
    tuning = f"{{trials: 2, seed: 9, space: {space}}}"
    actual = json_result(*arguments(f"experiment.tuning={tuning}", "model.match=ridge"))
    assert actual["trials"] == 2
    folder = Path(actual["study"])
    assert folder.parent == Path(tiny_scenario().work_dir) / "tuning"
    assert "_ridge" in folder.name
    identity = json.loads((Path(actual["study"]) / "study.json").read_text())
    assert identity["seed"] == 9 and list(identity["space"]) == ["training.learning_rate"]


def test_a_search_without_any_result_is_a_failure(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(scenario: Scenario) -> None:
        raise NotFiniteError("the loss is nan")

    MadeUpTraining(fail).use(monkeypatch)
    code, output, told = run(*arguments("--trials", "2", "--out", str(tmp_path), RATE), "--json")
    result = json.loads(output)
    assert (code, result["best"], result["failed"]) == (1, None, 2)
    assert "no trial has a result" in told
    assert (tmp_path / "trials.csv").read_text().count("the loss is nan") == 2


def test_another_search_does_not_mix_with_the_first(
    run, json_result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MadeUpTraining().use(monkeypatch)
    words = arguments("--trials", "1", "--out", str(tmp_path), RATE)
    json_result(*words)
    for further in ([], ["--dry-run"]):
        code, _, told = run(*words, "--seed", "7", *further)
        assert code == 1 and "(changed: seed)" in told


def test_an_error_of_a_run_ends_the_search_which_can_go_on(
    run, json_result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(scenario: Scenario) -> None:
        if is_run(scenario, "trial0002"):
            raise OSError("no space left on device")

    MadeUpTraining(fail).use(monkeypatch)
    words = arguments("--trials", "3", "--out", str(tmp_path), RATE)
    code, _, told = run(*words)
    assert code == 1 and "error: no space left on device" in told
    training = MadeUpTraining().use(monkeypatch)
    assert json_result(*words)["trials"] == 3
    assert [name.rpartition("/")[2] for name in training.trained] == ["trial0002", "trial0003"]


def test_data_that_do_not_fit_cost_no_trial(
    run, json_result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(scenario: Scenario) -> None:
        if is_run(scenario, "trial0002"):
            raise ConfigurationError("the data was built from other files")

    MadeUpTraining(fail).use(monkeypatch)
    words = arguments("--trials", "3", "--out", str(tmp_path), RATE)
    code, _, told = run(*words)
    assert code == 2 and "error: the data was built from other files" in told
    training = MadeUpTraining().use(monkeypatch)
    again = json_result(*words)
    assert (again["complete"], again["failed"]) == (3, 0)
    assert [name.rpartition("/")[2] for name in training.trained] == ["trial0002", "trial0003"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([RATE], "say how many trials"),
        (["--trials", "2"], "there is nothing to search"),
        (["--trials", "2", "training.learnin_rate=0..1"], "Did you mean 'training.learning_rate'"),
        (["--trials", "2", "model.dropout_rate=0..1"], "model.dropout_rate"),
        (["--trials", "2", "run_dir=choice:a,b"], "every trial has its own"),
        (["--trials", "2", RATE, "data.interactions.path=a.csv"], "'a.csv' is asked for, but"),
        (["--trials", "2", RATE, "training.distribution=multi_worker"], "a search trains each"),
        (["--trials", "2", RATE, "model.backbone=prm", "--dry-run"], "data.examples: re-rankers"),
        (["--trials", "2", "training.distribution=choice:none,mirrored"], "where a training runs"),
    ],
)
def test_searches_that_make_no_sense_are_wrong_configuration(
    run, words: list[str], reason: str
) -> None:
    code, output, told = run(*arguments(*words), "--json")
    assert (code, output) == (2, "") and reason in told


@pytest.mark.parametrize("further", [[], ["--dry-run"]])
def test_a_file_is_no_folder_of_a_search(run, tmp_path: Path, further: list[str]) -> None:
    out = tmp_path / "file"
    out.touch()
    code, output, told = run(*arguments("--trials", "2", "--out", str(out), RATE, *further))
    assert (code, output) == (2, "")
    assert f"--out {out}: this is a file; name a folder" in told


def test_a_dry_run_says_what_would_be_searched(run, json_result, tmp_path: Path) -> None:
    out = tmp_path / "study"
    found = json_result(*arguments("--dry-run", "--trials", "4", "--out", str(out), RATE))
    assert (found["dry_run"], found["study"], found["trials"]) == (True, str(out), 4)
    assert list(found["space"]) == ["training.learning_rate"] and not out.exists()
    assert run(*arguments("--dry-run", "--trials", "4", "training.epoch=1..2"))[0] == 2
