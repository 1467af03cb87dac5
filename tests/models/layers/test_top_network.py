from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.layers.top_network import top_network
from tests.models.builders import randomise, relu

INPUTS = np.random.default_rng(0).normal(size=[5, 4]).astype(np.float32)


@pytest.mark.parametrize("count", [1, 5])
def test_layers_follow_each_other_with_relu(count: int) -> None:
    network = top_network((6, 3), dropout_rate=0.0)
    network(INPUTS)
    randomise(network.trainable_weights, seed=0)
    first_kernel, first_bias, second_kernel, second_bias = network.get_weights()
    hidden = relu(INPUTS[:count] @ first_kernel + first_bias)
    expected = relu(hidden @ second_kernel + second_bias)
    np.testing.assert_allclose(network(INPUTS[:count]), expected, atol=1e-5)
    np.testing.assert_array_equal(network(INPUTS, training=True), network(INPUTS))


def test_dropout_acts_in_training_only() -> None:
    network = top_network((500,), dropout_rate=0.2)
    ones = np.ones([20, 4], np.float32)
    network(ones)
    for weight in network.trainable_weights:
        weight.assign(tf.ones_like(weight))
    np.testing.assert_array_equal(network(ones), np.full([20, 500], 5.0))
    tf.keras.utils.set_random_seed(0)
    output = network(ones, training=True).numpy()
    assert np.mean(output == 0) == pytest.approx(0.2, abs=0.015)
    np.testing.assert_allclose(output[output > 0], 5 / 0.8)


def test_the_name_is_given() -> None:
    assert top_network((2,), 0.0, name="deep").name == "deep"
    assert top_network((2,), 0.0).name == "top_network"
