"""Training of every kind of model in steps that XLA compiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.models.trainable import NAMES, TrainableModel, trainable_model

STEPS = 2


def compiled(trainable: TrainableModel) -> list[float]:
    """Losses of steps as `fit` makes them with XLA."""
    # No Adam: what rounding makes of gradients of zero would be as large as a step.
    trainable.model.compile(optimizer=tf.keras.optimizers.SGD(0.1), jit_compile=True)
    batch = tf.data.Dataset.from_tensors((trainable.features, trainable.labels))
    histories = [trainable.model.fit(batch, verbose=0).history for _ in range(STEPS)]
    return [history["total_loss"][0] for history in histories]


def eager(trainable: TrainableModel) -> list[float]:
    """Losses of the same steps, one operation after the other."""
    trainable.model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
    batch = trainable.features, trainable.labels
    return [float(trainable.model.train_step(batch)["total_loss"]) for _ in range(STEPS)]


def assert_compiled_steps_are_the_same(name: str, **options: Any) -> None:
    one, other = (trainable_model(name, dropout=False, **options) for _ in range(2))
    np.testing.assert_allclose(compiled(one), eager(other), rtol=1e-4)
    weights = one.model.trainable_weights, other.model.trainable_weights
    for own, expected in zip(*weights, strict=True):
        np.testing.assert_allclose(own, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["din", pytest.param("dcnv2", marks=pytest.mark.slow)])
def test_a_compiled_step_is_the_same_step(name: str) -> None:
    assert_compiled_steps_are_the_same(name, sources=("item",), match="none")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_model_with_all_options_can_be_compiled(name: str) -> None:
    assert_compiled_steps_are_the_same(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["din", "prm"])
def test_dropout_is_compiled_too(name: str) -> None:
    trainable = trainable_model(name)
    model = trainable.model
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01), jit_compile=True)
    batch = tf.data.Dataset.from_tensors((trainable.features, trainable.labels)).repeat(3)
    assert np.isfinite(model.fit(batch, verbose=0).history["loss"]).all()
