from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import tensorflow as tf

from models.layer_support import precision
from tests.models.trainable import trainable_model
from tests.trainer.toy_training import WIDTH, ToyModel, toy_examples, toy_model
from trainer.prediction import NotFiniteError
from trainer.training_loop import NanGuard, require_finite

FIX = "Try a lower training.learning_rate, or a training.gradient_clip_norm"


class Spoil(tf.keras.callbacks.Callback):
    """Makes a number of the model NaN after a step, as an update that went wrong would."""

    def __init__(self, after: int):
        super().__init__()
        self._after = after

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if batch == self._after:
            kernel = self.model.dense.kernel
            kernel.assign(tf.tensor_scatter_nd_update(kernel, [[1, 0]], [np.nan]))


def batches(size: int = 4, spoiled: int | None = None) -> tf.data.Dataset:
    """Ten batches; the inputs of the sample `spoiled` are NaN."""
    examples = toy_examples()
    inputs = examples.features["x"].copy()
    if spoiled is not None:
        inputs[spoiled] = np.nan
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_tensor_slices(({"x": inputs}, examples.labels))
    return dataset.batch(size).with_options(options)


def fit(model: ToyModel, dataset: tf.data.Dataset, *callbacks: tf.keras.callbacks.Callback) -> None:
    model.fit(dataset, callbacks=list(callbacks), verbose=0)


def test_a_finite_training_is_left_alone() -> None:
    model = toy_model()
    fit(model, batches(), NanGuard())
    assert int(model.optimizer.iterations) == 10
    require_finite(model, 0.5)


def test_training_ends_in_the_first_step_whose_loss_is_no_number() -> None:
    model = toy_model()
    with pytest.raises(NotFiniteError) as caught:
        fit(model, batches(), NanGuard(), Spoil(after=2))
    # The first step that met it was the fourth, after which no weight is a number.
    assert str(caught.value) == (
        f"step 4: the loss is nan, variable '{model.normalise.gamma.name}' is not finite, nor are "
        f"3 others of 6. {FIX}"
    )
    assert int(model.optimizer.iterations) == 4


def test_several_steps_in_one_call_are_all_looked_at() -> None:
    model = toy_model(steps_per_execution=5)
    with pytest.raises(NotFiniteError, match="^step 5: the loss is nan, variable"):
        fit(model, batches(spoiled=6), NanGuard())


def test_a_loss_of_the_layers_is_named() -> None:
    guard = NanGuard()
    guard.set_model(toy_model())
    with pytest.raises(NotFiniteError) as caught:
        guard.on_train_batch_end(0, {"loss": 0.7, "regularization_loss": np.inf})
    assert str(caught.value) == (
        f"step 0: the regularization loss is inf, all variables are finite. {FIX}"
    )


def test_weights_are_looked_at_though_the_loss_is_finite() -> None:
    model = toy_model()
    moving = model.normalise.moving_variance
    moving.assign(tf.fill([WIDTH], np.inf))
    with pytest.raises(NotFiniteError) as caught:
        require_finite(model, 0.5)
    assert str(caught.value) == (f"variable '{moving.name}' is not finite (the loss is 0.5). {FIX}")


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_loss_is_looked_at_though_weights_are_finite(loss: float) -> None:
    with pytest.raises(NotFiniteError, match=f"^the loss is {loss}, all variables are finite. Try"):
        require_finite(toy_model(), loss)


def test_the_gradient_is_named_where_weights_are_finite() -> None:
    model = toy_model(rate=0.0)
    spoiled = list(batches(spoiled=6))[1]
    guard = NanGuard(batch_of_step=lambda step: [None, spoiled][step])
    guard.set_model(model)
    with pytest.raises(NotFiniteError) as caught:
        guard.on_train_batch_end(1, {"loss": np.nan})
    first = model.trainable_variables[0].name
    assert str(caught.value) == (
        "step 0: the loss is nan, all variables are finite; the gradient of "
        f"'{first}' is not. {FIX}"
    )


def test_a_step_that_loss_scaling_skips_is_no_fault() -> None:
    with precision("mixed_float16"):
        trainable = trainable_model("wide_deep", sources=("item",), match="none")
    model = trainable.model
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(
        tf.keras.optimizers.Adam(0.01), initial_scale=2.0**30
    )
    model.compile(optimizer=optimizer)
    guard = NanGuard()
    guard.set_model(model)
    before = [weight.numpy() for weight in model.trainable_weights]
    guard.on_train_batch_end(0, model.train_step((trainable.features, trainable.labels)))
    assert float(optimizer.loss_scale) == 2.0**29
    for weight, value in zip(model.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    with pytest.raises(NotFiniteError, match="or training.precision=mixed_bfloat16$"):
        guard.on_train_batch_end(0, {"loss": np.inf})
