from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.adapters.base import frozen_weight


class Shift(tf.keras.layers.Layer):
    """Adds a frozen weight and shows its type inside the call."""

    def __init__(self, values: np.ndarray):
        super().__init__()
        self.shift = frozen_weight(self, "shift", values)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.cast(inputs, self.shift.dtype) + self.shift


@pytest.mark.parametrize(
    ("values", "dtype"),
    [(np.array([1.0, 0.1]), tf.float32), (np.array([3, 2**20 + 1]), tf.int32)],
)
def test_values_are_kept_saved_and_not_trained(
    values: np.ndarray, dtype: tf.DType, tmp_path: Path
) -> None:
    layer, other = Shift(values), Shift(np.zeros_like(values))
    assert layer.trainable_weights == []
    (weight,) = layer.non_trainable_weights
    assert weight.dtype == dtype
    np.testing.assert_array_equal(weight, values.astype(dtype.as_numpy_dtype))
    path = tf.train.Checkpoint(layer=layer).write(str(tmp_path / "weights"))
    tf.train.Checkpoint(layer=other).read(path).assert_consumed()
    np.testing.assert_array_equal(other.shift, weight)


def test_mixed_precision_does_not_touch_them() -> None:
    try:
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
        layer = Shift(np.array([1.0009765625]))
        output = layer(tf.zeros([1]))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert output.dtype == tf.float32
    np.testing.assert_array_equal(output, np.array([1.0009765625], np.float32))
