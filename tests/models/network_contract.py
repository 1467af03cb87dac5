"""What every network that gives scores must do alike: backbones, re-rankers, whole models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.layer_support import precision
from tests.models.builders import gradients_of


def all_but_last_slow(values: Iterable[Any]) -> list[Any]:
    """Parameters of a costly test, of which the fast suite takes the last one."""
    *others, last = values
    return [*(pytest.param(value, marks=pytest.mark.slow) for value in others), last]


def names_with_slow_variants(names: Iterable[str]) -> pytest.MarkDecorator:
    """Parametrises by name; other options of a network, as in "prm-positions", are slow tests."""
    return pytest.mark.parametrize(
        "name",
        [pytest.param(name, marks=pytest.mark.slow) if "-" in name else name for name in names],
    )


@contextmanager
def weights_kept(layer: tf.keras.layers.Layer) -> Iterator[None]:
    """Afterwards all weights and moving statistics are as before, so that a layer is shared."""
    before = layer.get_weights()
    try:
        yield
    finally:
        layer.set_weights(before)


def assert_every_weight_has_a_gradient(
    loss: Callable[[], tf.Tensor], weights: Sequence[tf.Variable], above: float = 0.0
) -> None:
    """Some number in the gradient of every weight is larger than `above`."""
    assert weights
    for weight, gradient in zip(weights, gradients_of(loss, weights), strict=True):
        assert gradient is not None, weight.name
        assert np.abs(gradient).max() > above, weight.name


def assert_dropout_acts_in_training_only(
    layer: tf.keras.layers.Layer, plain: tf.keras.layers.Layer, inputs: Any
) -> None:
    """`plain` is a built layer without dropout; `layer` is a new one that takes its weights."""
    layer(inputs)
    layer.set_weights(plain.get_weights())
    np.testing.assert_allclose(layer(inputs), layer(inputs, training=False), atol=0)
    with weights_kept(plain):
        assert np.abs(layer(inputs, training=True) - plain(inputs, training=True)).max() > 1e-3


def assert_configuration_keeps(kind: type[tf.keras.layers.Layer], options: dict[str, Any]) -> None:
    """A layer made again from the configuration has the name and every option."""
    layer = kind(**options, name="own")
    again = kind.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert {name: getattr(again, name) for name in options} == options
    assert again.name == "own"


def assert_configuration_makes_an_equal_layer(
    layer: tf.keras.layers.Layer,
    plain: tf.keras.layers.Layer,
    inputs: Any,
    options: dict[str, Any],
) -> None:
    """The configuration holds the options, and a layer of it with the same weights is equal.

    Args:
      layer: a new one.
      plain: a built one that differs from it in dropout at most.
      inputs: of both.
      options: of the layer.
    """
    config = layer.get_config()
    assert options.items() <= config.items(), config
    copy = type(layer).from_config(config)
    copy(inputs)
    copy.set_weights(plain.get_weights())
    np.testing.assert_allclose(copy(inputs), plain(inputs), atol=1e-6)


def assert_training_lowers_the_loss(
    make: Callable[[], tf.keras.layers.Layer],
    inputs: Any,
    loss_of: Callable[[tf.Tensor], tf.Tensor],
    steps: int,
) -> None:
    """At most so many steps on one batch take away 30% of the loss of the layer's output."""
    tf.keras.utils.set_random_seed(0)
    layer = make()
    optimizer = tf.keras.optimizers.Adam(0.03)
    losses: list[float] = []
    while not losses or losses[-1] >= 0.7 * losses[0]:
        assert len(losses) < steps, losses
        with tf.GradientTape() as tape:
            loss = loss_of(layer(inputs, training=True))
        gradients = tape.gradient(loss, layer.trainable_weights)
        optimizer.apply_gradients(zip(gradients, layer.trainable_weights, strict=True))
        losses.append(float(loss))


def assert_graph_and_saved_model_equal_eager(
    layer: tf.keras.layers.Layer,
    specification: Any,
    inputs: Any,
    others: Sequence[Any],
    folder: Path,
) -> None:
    """One graph serves the inputs, and saved also the others, which have other sizes."""
    module = tf.Module()
    # Not the layer: Keras would trace it and all inside it anew, in training as well.
    module.weights = layer.weights
    module.score = tf.function(layer, input_signature=[specification], autograph=False)
    np.testing.assert_allclose(module.score(inputs), layer(inputs), atol=1e-5)
    tf.saved_model.save(module, str(folder))
    reloaded = tf.saved_model.load(str(folder))
    for given in (inputs, *others):
        np.testing.assert_allclose(reloaded.score(given), layer(given), atol=1e-5)


def assert_mixed_precision_stays_close(
    make: Callable[[], tf.keras.layers.Layer], exact: tf.keras.layers.Layer, inputs: Any
) -> None:
    """In bfloat16 a layer deviates by less than 5% of the range of its float32 outputs.

    Args:
      make: gives a new layer.
      exact: the same layer in float32, built.
      inputs: of both.
    """
    with precision("mixed_bfloat16"):
        layer = make()
        layer(inputs, training=True)
        layer.set_weights(exact.get_weights())
        mixed = layer(inputs)
    assert {weight.dtype for weight in layer.weights} == {tf.float32}
    assert mixed.dtype == tf.bfloat16
    expected = exact(inputs)
    deviation = np.abs(tf.cast(mixed, tf.float32) - expected).max()
    assert deviation < 0.05 * max(1.0, np.ptp(expected)), deviation


def assert_train_steps_lower_the_loss(
    model: tf.keras.Model, batch: Any, steps: int, share: float, in_graph: bool = True
) -> None:
    """Further steps on one batch leave less than this share of the loss of the first.

    The trace of a graph costs as much as a dozen steps without one.
    """
    model.compile(optimizer=tf.keras.optimizers.Adam(0.02))
    # Otherwise the first call makes the optimizer's variables, and the graph is traced twice.
    model.optimizer.build(model.trainable_variables)
    train_step = tf.function(model.train_step) if in_graph else model.train_step
    first = train_step(batch)
    for _ in range(steps):
        last = train_step(batch)
    assert set(last) >= {"loss", "regularization_loss", "total_loss"}, set(last)
    assert last["loss"] < share * first["loss"], (first, last)


@contextmanager
def no_table_moves(model: tf.keras.Model) -> Iterator[None]:
    """Afterwards all that is not trained is as before, except moving statistics of batches."""
    moving = {
        id(weight)
        for layer in model.submodules
        if isinstance(layer, tf.keras.layers.BatchNormalization)
        for weight in layer.non_trainable_weights
    }
    frozen = [
        variable
        for variable in model.variables
        if not variable.trainable and id(variable) not in moving
    ]
    before = [variable.numpy() for variable in frozen]
    assert len(frozen) > 5, len(frozen)
    yield
    for variable, value in zip(frozen, before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.name)
