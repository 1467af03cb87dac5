from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.layers.normalization import BatchStandardization, all_if_none, masked_moments

INPUTS = np.array([[1.0, -2.0], [3.0, 0.5], [-1.0, 4.0], [0.0, 1.0]], np.float32)
MASK = np.array([True, False, True, True])


def standardised(inputs: np.ndarray, counted: np.ndarray, epsilon: float) -> np.ndarray:
    return (inputs - counted.mean(axis=0)) / np.sqrt(counted.var(axis=0) + epsilon)


@pytest.mark.parametrize("shape", [(4, 2), (2, 2, 2)])
def test_training_uses_what_counts_in_the_batch(shape: tuple[int, ...]) -> None:
    layer = BatchStandardization(epsilon=0.1)
    inputs, mask = INPUTS.reshape(shape), MASK.reshape(shape[:-1])
    expected = standardised(INPUTS, INPUTS[MASK], 0.1).reshape(shape)
    np.testing.assert_allclose(layer(inputs, training=True, mask=mask), expected, atol=1e-5)
    expected = standardised(INPUTS, INPUTS, 0.1).reshape(shape)
    np.testing.assert_allclose(layer(inputs, training=True), expected, atol=1e-5)
    assert layer.trainable_weights == []


def test_inference_uses_moving_averages() -> None:
    layer = BatchStandardization(momentum=0.8, epsilon=0.1)
    layer(INPUTS, training=True, mask=MASK)
    counted = INPUTS[MASK]
    mean, variance = 0.2 * counted.mean(axis=0), 0.8 + 0.2 * counted.var(axis=0)
    expected = (INPUTS - mean) / np.sqrt(variance + 0.1)
    np.testing.assert_allclose(layer(INPUTS), expected, atol=1e-5)
    np.testing.assert_allclose(layer(INPUTS, mask=~MASK), expected, atol=1e-5)


def test_a_mask_that_counts_nothing_counts_everything() -> None:
    np.testing.assert_array_equal(all_if_none(tf.constant([False, False])), [True, True])
    np.testing.assert_array_equal(all_if_none(tf.constant([False, True])), [False, True])
    layer = BatchStandardization(epsilon=0.1)
    outputs = layer(INPUTS, training=True, mask=np.zeros_like(MASK))
    np.testing.assert_allclose(outputs, standardised(INPUTS, INPUTS, 0.1), atol=1e-5)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_moments_have_the_digits_of_float32(dtype: tf.DType) -> None:
    inputs = tf.cast(INPUTS, dtype)
    exact = tf.cast(inputs, tf.float32).numpy()[MASK]
    mean, variance = masked_moments(inputs, tf.constant(MASK))
    assert mean.dtype == variance.dtype == tf.float32
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(variance, exact.var(axis=0), rtol=1e-6)


def test_configuration_makes_the_same_layer_again() -> None:
    layer = BatchStandardization(momentum=0.8, epsilon=0.2, name="own")
    again = BatchStandardization.from_config(layer.get_config())
    assert (again.momentum, again.epsilon, again.name) == (0.8, 0.2, "own")
    for each in (layer, again):
        each(INPUTS, training=True)
    np.testing.assert_array_equal(again(INPUTS), layer(INPUTS))
