from __future__ import annotations

import atexit
import dataclasses
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from configs.loading import ConfigurationError, override_scenario
from configs.scenario import Scenario
from tests.runs import written_run
from tests.scenarios import copied_scenario, tiny_scenario
from tests.trainer.made_up_results import result_of
from trainer import experiment
from trainer.experiment import (
    ExperimentResult,
    experiment_scenarios,
    is_up_to_date,
    run_experiment,
)
from trainer.run_folder import RunFolder


def test_the_grid_has_every_backbone_arm_and_seed() -> None:
    scenario = tiny_scenario(experiment__seeds=[3, 5])
    cells = list(experiment_scenarios(scenario))
    assert {(backbone, arm, seed) for backbone, arm, seed, _ in cells} == {
        (backbone, arm, seed)
        for backbone in ("din", "dcnv2")
        for arm in ("none", "hein_match")
        for seed in (3, 5)
    }
    assert len(cells) == 8
    for backbone, arm, seed, cell in cells:
        assert cell.model.backbone == backbone and cell.training.seed == seed
        expected = ("none", "none") if arm == "none" else ("hein", "ridge")
        assert (cell.model.adapter, cell.model.match) == expected
        folder = Path(scenario.work_dir) / "runs" / f"{backbone}_{arm}_seed{seed}"
        assert cell.run_dir == str(folder)
        assert cell.training.learning_rate == scenario.training.learning_rate


def test_an_override_of_an_unknown_key_is_refused() -> None:
    arms = {"none": {}, "typo": {"overrides": {"model.adaptor": "none"}}}
    with pytest.raises(ConfigurationError, match="model.adapter"):
        list(experiment_scenarios(tiny_scenario(experiment__arms=arms)))


@pytest.mark.parametrize(
    ("backbone", "problem"),
    [
        ("prm", "'prm' is trained on 'rerank' examples, and an experiment is about ranking models"),
        ("two_tower", "'two_tower' is trained on 'retrieval' examples"),
        ("dim", "'dim' is unknown"),
    ],
)
def test_backbones_that_are_no_ranking_models_are_refused(backbone: str, problem: str) -> None:
    scenario = tiny_scenario(experiment__backbones=["din", backbone])
    with pytest.raises(ConfigurationError, match=problem):
        run_experiment(scenario)


def test_without_a_baseline_nothing_is_trained() -> None:
    scenario = tiny_scenario(experiment__arms={"hein": {}})
    with pytest.raises(ConfigurationError, match="needs an arm called 'none'"):
        run_experiment(scenario)


@functools.cache
def small_experiment() -> tuple[Scenario, ExperimentResult, list[str]]:
    """DIN, two arms, one epoch."""
    folder = Path(tempfile.mkdtemp(prefix="experiment_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    scenario = copied_scenario(folder, experiment__backbones=["din"], training__epochs=1)
    said: list[str] = []
    return scenario, run_experiment(scenario, said.append), said


def test_all_cells_are_trained_tested_and_compared() -> None:
    scenario, result, said = small_experiment()
    assert [(run.backbone, run.knowledge, run.seed) for run in result.runs] == [
        ("din", "none", 1),
        ("din", "hein_match", 1),
    ]
    for run, line in zip(result.runs, said, strict=True):
        written = RunFolder(run.folder)
        assert run.validation == written.read_metrics()["validation"]
        assert run.history == written.read_history() and len(run.history) == run.epochs == 1
        assert run.test == run.predictions.metrics()
        assert run.folder.name in line and f"test AUC {run.test['auc']:.4f}" in line
        assert "already trained" not in line and not run.reused
    (comparison,) = result.comparisons
    assert (comparison.backbone, comparison.knowledge) == ("din", "hein_match")
    none, match = (run.test["auc"] for run in result.runs)
    assert comparison.difference.baseline == pytest.approx(none)
    assert comparison.difference.difference == pytest.approx(match - none)
    assert [run.knowledge for run in result.runs_of("din", "none")] == ["none"]
    assert result.runs_of("dcnv2", "none") == []


def test_finished_runs_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, first, _ = small_experiment()
    trained: list[str] = []
    monkeypatch.setattr(experiment, "train", lambda cell, store: trained.append(cell.run_dir))
    said: list[str] = []
    again = run_experiment(scenario, said.append)
    assert trained == []
    assert all(line.endswith("(already trained)") for line in said)
    for old, new in zip(first.runs, again.runs, strict=True):
        assert new.reused
        assert (new.test, new.validation) == (old.test, old.validation)
        assert new.train_seconds == old.train_seconds
        np.testing.assert_array_equal(new.predictions.scores, old.predictions.scores)
    assert again.comparisons == first.comparisons


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("training.epochs", 9, False),
        ("model.top_units", [3], False),
        ("knowledge.sources", ["user"], False),
        ("split.seed", 5, False),
        ("experiment.seeds", [1, 2, 3], True),
        ("evaluation.bootstrap_resamples", 77, True),
        ("name", "renamed", True),
    ],
)
def test_a_run_is_up_to_date_with_the_settings_it_was_trained_with(
    key: str, value: object, expected: bool
) -> None:
    run = written_run()
    assert is_up_to_date(run.folder, run.scenario)
    assert is_up_to_date(run.folder, override_scenario(run.scenario, {key: value})) is expected


def test_a_missing_run_is_not_up_to_date() -> None:
    run = written_run()
    assert not is_up_to_date(RunFolder(run.folder.path / "absent"), run.scenario)


def test_a_run_of_other_data_is_not_up_to_date(tmp_path: Path) -> None:
    scenario, _, _ = small_experiment()
    _, _, _, cell = next(experiment_scenarios(scenario))
    folder = RunFolder(str(cell.run_dir))
    assert is_up_to_date(folder, cell)
    manifest = Path(scenario.work_dir) / "examples" / "manifest.json"
    original = manifest.read_text()
    manifest.write_text(original + " ")
    assert not is_up_to_date(folder, cell)
    manifest.write_text(original)
    assert is_up_to_date(folder, cell)


def test_the_best_run_is_chosen_on_validation_among_runs_with_knowledge() -> None:
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


def test_without_a_run_with_knowledge_there_is_no_best_one() -> None:
    result = ExperimentResult([result_of("din", "none"), result_of("dcnv2", "hein")], [])
    with pytest.raises(ConfigurationError, match="needs an arm besides 'none'"):
        result.best_run("din")
