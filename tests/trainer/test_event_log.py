from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from trainer.tracking import dotted_settings
from trainer.training_loop import EventLog


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Tag -> step -> value, as TensorBoard reads them."""
    collected: dict[str, dict[int, float]] = defaultdict(dict)
    for path in sorted(folder.glob("events*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "hparams":
                    continue
                collected[value.tag][event.step] = float(tf.make_ndarray(value.tensor))
    return collected


class Falling(tfrs.models.Model):
    """Its only weight falls by the learning rate in every step; the loss is its size."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(1.0)

    def compute_loss(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.abs(self.weight)


def compiled_model(steps_per_execution: int = 1) -> tf.keras.Model:
    """Its rate falls to a tenth after 15 steps."""
    model = Falling()
    rate = tf.keras.optimizers.schedules.PiecewiseConstantDecay([14], [0.01, 0.001])
    model.compile(tf.keras.optimizers.SGD(rate), steps_per_execution=steps_per_execution)
    return model


def train(model: tf.keras.Model, log: EventLog, steps: int) -> None:
    model.fit(tf.data.Dataset.range(steps), steps_per_epoch=steps, callbacks=[log], verbose=0)


def test_losses_and_rates_stand_at_the_optimizers_steps(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    model = compiled_model()
    train(model, log, steps=13)
    train(model, log, steps=12)
    log.close()
    actual = scalars(tmp_path)
    assert set(actual) == {"loss", "learning_rate"}
    # Before step s the weight has fallen s - 1 times; 15 of the steps have the higher rate.
    expected = {1: 1.0, 11: 0.9, 21: 1 - 15 * 0.01 - 5 * 0.001}
    assert actual["loss"] == pytest.approx(expected, abs=1e-5)
    assert actual["learning_rate"] == pytest.approx({1: 0.01, 11: 0.01, 21: 0.001})


def test_several_steps_in_one_call_leave_the_last_ones_loss(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    train(compiled_model(steps_per_execution=4), log, steps=32)
    log.close()
    actual = scalars(tmp_path)
    assert list(actual["loss"]) == [4, 16, 28]
    assert actual["loss"][4] == pytest.approx(1 - 3 * 0.01, abs=1e-5)


def test_a_row_of_history_stands_at_its_epoch_at_once(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.on_epoch_row({"epoch": 1, "train_loss": 0.5, "validation_auc": 0.7})
    assert scalars(tmp_path)["epoch_train_loss"] == {1: 0.5}
    log.on_epoch_row({"epoch": 2, "train_loss": 0.25, "validation_auc": 0.75})
    log.close()
    actual = scalars(tmp_path)
    assert set(actual) == {"epoch_train_loss", "epoch_validation_auc"}
    assert actual["epoch_train_loss"] == {1: 0.5, 2: 0.25}
    np.testing.assert_allclose(list(actual["epoch_validation_auc"].values()), [0.7, 0.75])


def test_a_resumed_training_goes_on_in_a_file_of_its_own(tmp_path: Path) -> None:
    model = compiled_model()
    for steps in (3, 12):
        log = EventLog(tmp_path)
        train(model, log, steps)
        log.close()
    assert len(list(tmp_path.glob("events*"))) == 2
    assert list(scalars(tmp_path)["loss"]) == [1, 4, 14]


def test_settings_stand_in_the_table_of_hyper_parameters(tmp_path: Path) -> None:
    settings = {"training": {"learning_rate": 0.003, "schedule": "cosine", "xla": False}}
    lists = {"model": {"top_units": [200, 80], "backbone_options": {}}}
    EventLog(tmp_path, dict(dotted_settings(settings | lists))).close()
    (path,) = tmp_path.glob("events*")
    (started,) = (
        HParamsPluginData.FromString(value.metadata.plugin_data.content).session_start_info
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if value.tag == "_hparams_/session_start_info"
    )
    actual = {
        key: getattr(value, value.WhichOneof("kind")) for key, value in started.hparams.items()
    }
    assert actual == {
        "training.learning_rate": 0.003,
        "training.schedule": "cosine",
        "training.xla": False,
        "model.top_units": "[200, 80]",
        "model.backbone_options": "{}",
    }
