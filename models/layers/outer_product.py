"""Outer product of all fields."""

from __future__ import annotations

import tensorflow as tf

from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class OuterProduct(tf.keras.layers.Layer):
    """p = sum_i sum_j v_i v_j' = s s' with s = sum_i v_i, all pairs superposed in one matrix.

    Source: the outer product of "Product-based Neural Networks" (arXiv 1611.00144), section III-C.
    p is symmetric; its upper triangle says all and halves the weights of the layer that reads it.

    Shapes: [n, fields, width] -> [n, width * (width + 1) / 2], the upper triangle row by row.
    """

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Multiplies the sum of the fields by itself."""
        total = tf.reduce_sum(fields, axis=1)
        rows = [total[:, i : i + 1] * total[:, i:] for i in range(total.shape[1])]
        return tf.concat(rows, axis=1)
