"""The cross layer of Deep & Cross Network, version 1."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class VectorCross(tf.keras.layers.Layer):
    """x_{l+1} = x_0 (x_l' w) + b + x_l, a cross with one weight vector.

    Source: "Deep & Cross Network for Ad Click Predictions" (arXiv 1708.05123), Eq. (3). For the
    full matrices of version 2 take `tfrs.layers.dcn.Cross`.

    Shapes: x_0 [n, width] and x_l [n, width] -> [n, width].
    """

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates weight vector and bias."""
        width = input_shape[0][-1]
        self._weight = self.add_weight(
            name="kernel", shape=(width, 1), initializer="glorot_uniform"
        )
        self._bias = self.add_weight(name="bias", shape=(width,), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Crosses x_l with x_0."""
        first, crossed = inputs
        return first * tf.linalg.matmul(crossed, self._weight) + self._bias + crossed
