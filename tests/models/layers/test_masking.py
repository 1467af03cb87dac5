from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from models.layers.masking import masked_softmax, without_padding

SCORES = np.array([[1.0, -2.0, 3.0], [90.0, 991.0, 988.0], [5.0, 5.0, 5.0]], np.float32)
MASK = np.array([[True, False, True], [False, True, True], [False, False, False]])


def test_real_steps_share_1() -> None:
    expected = [[*softmax([1, 3])], [*softmax([991, 988])]]
    weights = masked_softmax(tf.constant(SCORES), tf.constant(MASK)).numpy()
    np.testing.assert_allclose(weights[0, [0, 2]], expected[0], rtol=1e-5)
    np.testing.assert_allclose(weights[1, [1, 2]], expected[1], rtol=1e-5)
    np.testing.assert_array_equal(weights[~MASK], 0)


@pytest.mark.parametrize("count", [1, 3])
def test_one_mask_serves_all_rows(count: int) -> None:
    weights = masked_softmax(tf.constant(SCORES[:count]), tf.constant(MASK[:1]))
    expected = masked_softmax(tf.constant(SCORES[:count]), tf.constant(MASK[:1].repeat(count, 0)))
    np.testing.assert_array_equal(weights, expected)


def test_a_history_of_length_0() -> None:
    assert masked_softmax(tf.zeros([2, 0]), tf.zeros([1, 0], tf.bool)).shape == (2, 0)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float16, tf.bfloat16])
def test_weights_and_gradients_are_finite_in_any_precision(dtype: tf.DType) -> None:
    scores = tf.cast(SCORES, dtype)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        weights = masked_softmax(scores, tf.constant(MASK))
        total = tf.reduce_sum(weights * tf.cast([1.0, 2.0, 3.0], dtype))
    gradient = tape.gradient(total, scores)
    assert weights.dtype == dtype
    for values in (weights, gradient):
        assert np.isfinite(tf.cast(values, tf.float32)).all()
    assert np.abs(tf.cast(gradient, tf.float32)[0]).max() > 0.05


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 3), (2, 2, 3, 1)])
def test_padding_becomes_zeros_and_gets_no_gradient(shape: tuple[int, ...]) -> None:
    values = np.ones(shape, np.float32)
    values[0, 1] = np.nan
    mask = np.array([[True, False], [True, True]])
    expected = np.ones(shape)
    expected[0, 1] = 0
    with tf.GradientTape() as tape:
        given = tf.constant(values)
        tape.watch(given)
        clean = without_padding(given, mask)
    np.testing.assert_array_equal(clean, expected)
    np.testing.assert_array_equal(tape.gradient(clean, given), expected)
