"""Inner products of all pairs of fields."""

from __future__ import annotations

import tensorflow as tf

from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class InnerProducts(tf.keras.layers.Layer):
    """p_ij = v_i' v_j for all pairs of fields i < j.

    Source: the inner product of "Product-based Neural Networks" (arXiv 1611.00144), section III-B.
    The paper's matrix p is symmetric; each pair is given once, without the squared lengths on its
    diagonal, as in the authors' code. For fields of width 1 these are the products of all pairs of
    numbers.

    Shapes: [n, fields, width] -> [n, fields * (fields - 1) / 2], pairs ordered by i, then j.
    """

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Multiplies all pairs."""
        count = fields.shape[1]
        products = tf.matmul(fields, fields, transpose_b=True)
        products = tf.reshape(products, [tf.shape(fields)[0], count * count])
        above_diagonal = [i * count + j for i in range(count) for j in range(i + 1, count)]
        return tf.gather(products, tf.constant(above_diagonal, tf.int32), axis=1)
