from __future__ import annotations

import csv
import functools
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from configs.loading import ConfigurationError, load_scenario
from configs.scenario import Scenario
from preprocessing.examples import build_examples
from preprocessing.records.errors import DamagedRecords
from preprocessing.records.layout import WorkDirectory
from tests.runs import shared_store
from tests.scenarios import copied_scenario, tiny_scenario
from trainer import training
from trainer.evaluation import predict_run
from trainer.run_folder import RunFolder, RunFolderError, RunMetrics
from trainer.tables import fingerprint
from trainer.training import NotFiniteError, train

PLAIN = {"model__adapter": "none"}


def plain_scenario(folder: Path, **assignments: object) -> Scenario:
    """The scenario without knowledge, which trains fastest."""
    return tiny_scenario(run_dir=str(folder / "run"), **PLAIN, **assignments)


@functools.cache
def trained() -> tuple[Scenario, RunMetrics]:
    """DIN with HEIN and knowledge match, two epochs."""
    scenario = tiny_scenario(model__match="ridge")
    return scenario, train(scenario, shared_store(), progress=False)


def remember_models(monkeypatch: pytest.MonkeyPatch) -> list[tf.keras.Model]:
    """Models in training, in the order in which their weights were created."""
    models = []
    create = training.create_weights

    def create_and_remember(model: tf.keras.Model) -> None:
        create(model)
        models.append(model)

    monkeypatch.setattr(training, "create_weights", create_and_remember)
    return models


def test_the_run_folder_is_complete() -> None:
    scenario, result = trained()
    folder = Path(result["run"])
    assert folder == Path(scenario.work_dir) / "runs" / "din_hein-item-user_ridge_seed1"
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml",
        "metrics.json",
        "history.csv",
        "checkpoint",
    }
    assert not (folder.parent / f".{folder.name}.unfinished").exists()
    assert load_scenario(folder / "config.yaml") == scenario
    assert json.loads((folder / "metrics.json").read_text()) == result
    assert result["fingerprint"] == fingerprint(scenario)


def test_metrics_and_history_say_what_happened() -> None:
    scenario, result = trained()
    with (Path(result["run"]) / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2]
    assert result["epochs"] == 2
    best = rows[result["best_epoch"] - 1]
    assert result["validation"]["auc"] == float(best["validation_auc"])
    assert result["validation"]["logloss"] == float(best["validation_logloss"])
    assert result["validation"]["gauc"] == float(best["validation_gauc"])
    assert max(float(row["validation_auc"]) for row in rows) == result["validation"]["auc"]
    counts = json.loads(WorkDirectory(scenario.work_dir).examples.manifest.read_text())["counts"]
    assert result["validation"]["n"] == counts["parts"]["validation"]
    assert result["train_samples"] == counts["parts"]["train"]
    assert result["train_seconds"] > 0
    _, model = RunFolder(result["run"]).load_model()
    sizes = [weight.numpy().size for weight in model.trainable_weights]
    assert result["trainable_weights"] == sum(sizes)


def test_the_tastes_are_learnt() -> None:
    assert trained()[1]["validation"]["auc"] > 0.75


def test_restored_weights_reproduce_the_best_validation_metrics() -> None:
    result = trained()[1]
    metrics = predict_run(result["run"], "validation", shared_store()).metrics()
    assert metrics == pytest.approx(result["validation"], abs=1e-6)


def test_equal_seeds_train_equal_models_and_the_test_part_is_not_read(tmp_path: Path) -> None:
    result = trained()[1]
    again = copied_scenario(tmp_path, model__match="ridge")
    shutil.rmtree(WorkDirectory(again.work_dir).examples.part("test"))
    repeated = train(again, progress=False)
    assert repeated["validation"] == pytest.approx(result["validation"], abs=1e-6)
    histories = [RunFolder(run["run"]).read_history() for run in (result, repeated)]
    for first, second in zip(*histories, strict=True):
        assert second == pytest.approx(first, abs=1e-6)
    with pytest.raises(DamagedRecords):
        predict_run(repeated["run"], "test")


def test_another_seed_trains_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    initial = []
    create = training.create_weights

    def create_and_copy(model: tf.keras.Model) -> None:
        create(model)
        initial.append([weight.numpy() for weight in model.trainable_weights])

    monkeypatch.setattr(training, "create_weights", create_and_copy)
    first, second = (
        train(plain_scenario(tmp_path / str(seed), training__seed=seed), shared_store(), False)
        for seed in (1, 2)
    )
    assert abs(first["validation"]["logloss"] - second["validation"]["logloss"]) > 1e-4
    pairs = [pair for pair in zip(*initial, strict=True) if pair[0].std() > 0]
    assert len(pairs) >= 4 and not any(np.array_equal(*pair) for pair in pairs)


class ScriptedAuc:
    """Replaces the AUC of the validation part by given numbers, epoch by epoch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, aucs: list[float]):
        self.models = remember_models(monkeypatch)
        self.weights: list[list[np.ndarray]] = []
        self._aucs = iter(aucs)
        self._evaluate = training.evaluate_scores
        monkeypatch.setattr(training, "evaluate_scores", self._scripted)

    def _scripted(self, labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> object:
        self.weights.append([weight.numpy() for weight in self.models[-1].trainable_weights])
        return {**self._evaluate(labels, scores, users), "auc": next(self._aucs)}


def test_training_stops_after_patience_and_keeps_the_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = ScriptedAuc(monkeypatch, [0.6, 0.7, 0.65, 0.7, 0.9])
    scenario = plain_scenario(tmp_path, training__epochs=5, training__patience=2)
    result = train(scenario, shared_store(), progress=False)
    assert (result["epochs"], result["best_epoch"]) == (4, 2)
    assert result["validation"]["auc"] == 0.7
    _, model = RunFolder(result["run"]).load_model()
    for weight, best in zip(model.trainable_weights, script.weights[1], strict=True):
        np.testing.assert_array_equal(weight.numpy(), best)
    assert not np.array_equal(script.weights[1][0], script.weights[3][0])


def test_a_better_epoch_renews_the_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ScriptedAuc(monkeypatch, [0.6, 0.5, 0.7, 0.65])
    scenario = plain_scenario(tmp_path, training__epochs=4, training__patience=2)
    result = train(scenario, shared_store(), progress=False)
    assert (result["epochs"], result["best_epoch"]) == (4, 3)


@pytest.mark.parametrize(("schedule", "last_share"), [("cosine", 0.0), ("constant", 1.0)])
def test_the_cosine_schedule_ends_at_zero(
    schedule: str, last_share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = remember_models(monkeypatch)
    scenario = plain_scenario(tmp_path, training__schedule=schedule, training__epochs=1)
    result = train(scenario, shared_store(), progress=False)
    (model,) = models
    steps = -(-result["train_samples"] // scenario.training.batch_size)
    assert int(model.optimizer.iterations) == steps
    rate = model.optimizer._learning_rate
    rate = rate(model.optimizer.iterations) if callable(rate) else rate
    initial = scenario.training.learning_rate
    assert float(rate) == pytest.approx(last_share * initial, abs=1e-6 * initial)


def test_a_weight_that_is_not_finite_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned = []
    create = training.create_weights

    def create_poisoned(model: tf.keras.Model) -> None:
        create(model)
        weight = next(w for w in model.trainable_weights if "item_id_embedding" in w.name)
        weight.assign(tf.fill(weight.shape, np.nan))
        poisoned.append(weight.name)

    monkeypatch.setattr(training, "create_weights", create_poisoned)
    scenario = plain_scenario(tmp_path, training__epochs=1)
    with pytest.raises(NotFiniteError) as caught:
        train(scenario, shared_store(), progress=False)
    assert f"variable '{poisoned[0]}' is not finite" in str(caught.value)
    assert "training.learning_rate" in str(caught.value)
    assert not RunFolder(str(scenario.run_dir)).path.exists()


@pytest.mark.parametrize("batch_size", [128, 4096])
def test_an_absurd_learning_rate_is_noticed(tmp_path: Path, batch_size: int) -> None:
    # With one step per epoch the loss is finite; what the step leaves behind is not.
    scenario = plain_scenario(
        tmp_path,
        training__epochs=1,
        training__batch_size=batch_size,
        training__learning_rate=1e39,
        training__schedule="constant",
    )
    with pytest.raises(NotFiniteError, match="variable '.*' is not finite"):
        train(scenario, shared_store(), progress=False)
    assert not RunFolder(str(scenario.run_dir)).path.exists()


def test_a_part_of_one_class_is_named_before_training(tmp_path: Path) -> None:
    scenario = copied_scenario(
        tmp_path, run_dir=str(tmp_path / "run"), data__positive_rating=0.5, **PLAIN
    )
    build_examples(scenario)
    with pytest.raises(CommandError, match=r"of part 'train' in .* have the label 1, and AUC"):
        train(scenario, progress=False)


def test_other_kinds_of_examples_are_not_trained_on(tmp_path: Path) -> None:
    scenario = copied_scenario(
        tmp_path, run_dir=str(tmp_path / "run"), data__examples=["retrieval"], **PLAIN
    )
    build_examples(scenario)
    with pytest.raises(ConfigurationError, match="there are retrieval only. Add ctr"):
        train(scenario, progress=False)


def test_a_model_that_does_not_exist_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'dim' is unknown; there are autoint, bst, dcn, "):
        train(plain_scenario(tmp_path, model__backbone="dim"), shared_store(), progress=False)
    widths = tiny_scenario(run_dir=str(tmp_path / "run"), model__embedding_dimension=7)
    with pytest.raises(ConfigurationError, match="expert_units .8. must equal"):
        train(widths, shared_store(), progress=False)


def test_a_folder_with_other_files_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    with pytest.raises(RunFolderError, match="other files"):
        train(plain_scenario(tmp_path), shared_store(), progress=False)
    assert (tmp_path / "run" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_goes_to_a_terminal_and_nowhere_else(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    train(plain_scenario(tmp_path, training__epochs=1), shared_store(), progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("run epoch 1/1" in captured.err and "validation_auc=0." in captured.err) is terminal
