from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.layers.set_attention import AttendingBlock
from tests.models.builders import randomise
from tests.models.numpy_attention import dense


class Echo(AttendingBlock):
    """Every query attends to itself alone."""

    def build(self, input_shape: tf.TensorShape) -> None:
        self._build_transformation(input_shape[-1], tf.nn.relu)
        super().build(input_shape)

    def call(self, queries: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        return self._transformed(queries, queries, training)


def normalised(values: np.ndarray, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6) * scale + offset


def test_output_follows_the_formula() -> None:
    layer, queries = Echo(feed_forward_units=7), np.random.default_rng(0).normal(size=[2, 3, 4])
    layer(queries)
    randomise(layer.trainable_weights, seed=1)
    first = normalised(2 * queries, *layer._norms[0].get_weights())
    (hidden, hidden_bias), (narrow, bias) = dense(layer._hidden), dense(layer._narrow)
    added = np.maximum(first @ hidden + hidden_bias, 0) @ narrow + bias
    expected = normalised(first + added, *layer._norms[1].get_weights())
    np.testing.assert_allclose(layer(queries), expected, atol=1e-5)


def test_dropout_acts_on_both_parts_in_training_only() -> None:
    layer, queries = Echo(dropout_rate=0.5), np.random.default_rng(0).normal(size=[2, 3, 4])
    np.testing.assert_array_equal(layer(queries), layer(queries, training=False))
    assert np.abs(layer(queries, training=True) - layer(queries)).max() > 1e-2
    assert [dropout.rate for dropout in layer._dropouts] == [0.5, 0.5]


def test_the_configuration_makes_an_equal_layer() -> None:
    config = Echo(2, 7, 0.25, name="echo").get_config()
    assert Echo.from_config(config).get_config() == config
    assert (config["num_heads"], config["feed_forward_units"], config["dropout_rate"]) == (
        2,
        7,
        0.25,
    )
