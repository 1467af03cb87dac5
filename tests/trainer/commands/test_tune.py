from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.loading import load_scenario
from configs.scenario import Scenario
from tests.scenarios import tiny_config, tiny_scenario
from tests.trainer.experiments.synthetic_training import MadeUpTraining, is_run
from trainer.__main__ import main
from trainer.model_kinds import NotFiniteError

RATE = "training.learning_rate=log:1e-4..1"
KEYS = {
    *("study", "metric", "trials", "complete", "failed", "pruned", "best", "best_config"),
    *("trials_csv", "plot"),
}


def arguments(*more: str) -> list[str]:
    return ["tune", "--config", str(tiny_config()), "--json", *more]


def result_of(capsys: pytest.CaptureFixture[str], *more: str) -> dict:
    capsys.readouterr()
    assert main(arguments(*more)) == 0
    return json.loads(capsys.readouterr().out)


def test_a_search_leaves_the_best_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training = MadeUpTraining().use(monkeypatch)
    ranges = [RATE, "training.batch_size=choice:32,64", "model.top_units=choice:[16,8],[4]"]
    actual = result_of(
        capsys, "--trials", "4", "--out", str(tmp_path), "model.adapter=none", *ranges
    )
    assert set(actual) == KEYS
    assert [actual[key] for key in ("metric", "trials", "complete")] == ["auc", 4, 4]
    best = load_scenario(actual["best_config"])
    assert best.training.learning_rate == actual["best"]["settings"]["training.learning_rate"]
    assert list(best.model.top_units) == actual["best"]["settings"]["model.top_units"]
    assert (best.model.adapter, best.run_dir) == ("none", None)
    assert all(Path(actual[key]).is_file() for key in ("trials_csv", "plot"))
    assert load_scenario(f"{actual['best']['run']}/config.yaml").training == best.training
    again = result_of(
        capsys, "--trials", "6", "--out", str(tmp_path), "model.adapter=none", *ranges
    )
    assert (again["trials"], len(training.trained)) == (6, 6)
    assert again["best"]["value"] >= actual["best"]["value"]


def test_the_space_may_stand_in_the_scenario(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    MadeUpTraining().use(monkeypatch)
    space = "{training.learning_rate: {low: 1e-4, high: 1, log: true}}"
    tuning = f"{{trials: 2, seed: 9, space: {space}}}"
    actual = result_of(capsys, f"experiment.tuning={tuning}", "model.match=ridge")
    assert actual["trials"] == 2
    folder = Path(actual["study"])
    assert folder.parent == Path(tiny_scenario().work_dir) / "tuning"
    assert "_ridge" in folder.name
    identity = json.loads((Path(actual["study"]) / "study.json").read_text())
    assert identity["seed"] == 9 and list(identity["space"]) == ["training.learning_rate"]


def test_a_search_without_any_result_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(scenario: Scenario) -> None:
        raise NotFiniteError("the loss is nan")

    MadeUpTraining(fail).use(monkeypatch)
    capsys.readouterr()
    assert main(arguments("--trials", "2", "--out", str(tmp_path), RATE)) == 1
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["best"], result["failed"]) == (None, 2)
    assert "no trial has a result" in captured.err
    assert (tmp_path / "trials.csv").read_text().count("the loss is nan") == 2


def test_another_search_does_not_mix_with_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    MadeUpTraining().use(monkeypatch)
    result_of(capsys, "--trials", "1", "--out", str(tmp_path), RATE)
    assert main(arguments("--trials", "1", "--out", str(tmp_path), RATE, "--seed", "7")) == 1
    assert "(changed: seed)" in capsys.readouterr().err


def test_an_error_of_a_run_ends_the_search_which_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(scenario: Scenario) -> None:
        if is_run(scenario, "trial0002"):
            raise OSError("no space left on device")

    MadeUpTraining(fail).use(monkeypatch)
    assert main(arguments("--trials", "3", "--out", str(tmp_path), RATE)) == 1
    assert "error: no space left on device" in capsys.readouterr().err
    training = MadeUpTraining().use(monkeypatch)
    assert result_of(capsys, "--trials", "3", "--out", str(tmp_path), RATE)["trials"] == 3
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
        (["--trials", "2", "training.distribution=choice:none,mirrored"], "where a training runs"),
    ],
)
def test_searches_that_make_no_sense_are_wrong_configuration(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(*words)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and reason in captured.err


def test_a_dry_run_says_what_would_be_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    found = result_of(capsys, "--dry-run", "--trials", "4", "--out", str(out), RATE)
    assert (found["dry_run"], found["study"], found["trials"]) == (True, str(out), 4)
    assert list(found["space"]) == ["training.learning_rate"] and not out.exists()
    assert main(arguments("--dry-run", "--trials", "4", "training.epoch=1..2")) == 2
