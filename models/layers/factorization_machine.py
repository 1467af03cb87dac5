"""Second-order interactions of a factorization machine."""

from __future__ import annotations

import tensorflow as tf

from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FactorizationMachine(tf.keras.layers.Layer):
    """sum over pairs i < j of v_i' v_j, in linear time: 0.5 sum_d [(sum_i v_id)^2 - sum_i v_id^2].

    Source: "DeepFM" (arXiv 1703.04247), Eq. (2), with the embeddings as factors. The first order is
    left to a linear layer.

    Shapes: [n, fields, width] -> [n, 1].
    """

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Sums the products of all pairs of fields."""
        of_sum = tf.square(tf.reduce_sum(fields, axis=1))
        of_each = tf.reduce_sum(tf.square(fields), axis=1)
        return 0.5 * tf.reduce_sum(of_sum - of_each, axis=1, keepdims=True)
