from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.scenario import Scenario
from tests.runs import shared_store
from tests.scenarios import tiny_scenario
from tests.trainer.remembering import remember_models
from trainer import training
from trainer.metrics import Metrics
from trainer.prediction import NotFiniteError
from trainer.run_folder import RunFolder
from trainer.sample_predictions import SamplePredictions
from trainer.training import train


def plain_scenario(folder: Path, **assignments: object) -> Scenario:
    """The scenario without knowledge, which trains fastest."""
    return tiny_scenario(run_dir=str(folder / "run"), model__adapter="none", **assignments)


class ScriptedAuc:
    """Replaces the AUC of the validation part by given numbers, epoch by epoch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, aucs: list[float]):
        self.models = remember_models(monkeypatch)
        self.weights: list[list[np.ndarray]] = []
        self._aucs = iter(aucs)
        self._measure = SamplePredictions.metrics
        monkeypatch.setattr(SamplePredictions, "metrics", lambda found: self._scripted(found))

    def _scripted(self, predictions: SamplePredictions) -> Metrics:
        self.weights.append([weight.numpy() for weight in self.models[-1].trainable_weights])
        return {**self._measure(predictions), "auc": next(self._aucs)}


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


def test_a_weight_that_is_not_finite_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = training.create_weights

    def create_poisoned(model: tf.keras.Model) -> None:
        create(model)
        weight = next(w for w in model.trainable_weights if "item_id_embedding" in w.name)
        weight.assign(tf.fill(weight.shape, np.nan))

    monkeypatch.setattr(training, "create_weights", create_poisoned)
    scenario = plain_scenario(tmp_path, training__epochs=1)
    # What is not finite spreads, so which variable is found first depends on their order.
    with pytest.raises(NotFiniteError, match="variable '.*embedding.*' is not finite") as caught:
        train(scenario, shared_store(), progress=False)
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
