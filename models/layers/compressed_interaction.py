"""Compressed Interaction Network, the explicit part of xDeepFM."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class CompressedInteractionNetwork(tf.keras.layers.Layer):
    """Every layer compresses all products of the last layer's rows with the fields.

    X^k_h = sum_i sum_j W^{k,h}_{ij} (X^{k-1}_i * X^0_j), products element by element, X^0 the
    fields; output p^k_h = sum_d X^k_{hd} of all layers side by side. Layer k holds interactions of
    order k + 1.

    Source: "xDeepFM" (arXiv 1803.05170), Eq. (6) and (7). Without activation, which the paper found
    best (Section 4.4), and without halving the rows between layers.

    Shapes: [n, fields, width] -> [n, sum of units]. The products take n * width * units * fields
    numbers a layer.

    Attributes:
      units: rows H_k of every layer; the useful range is 20 to 200.
    """

    def __init__(self, units: Sequence[int] = (50, 50), **kwargs: object):
        """Creates the layer."""
        super().__init__(**kwargs)
        self.units = tuple(units)

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates a kernel [H_{k-1} * fields, H_k] per layer."""
        fields = input_shape[1]
        rows = (fields, *self.units)
        self._kernels = [
            self.add_weight(
                name=f"layer_{layer}_kernel",
                shape=(rows[layer] * fields, rows[layer + 1]),
                initializer="glorot_uniform",
            )
            for layer in range(len(self.units))
        ]
        super().build(input_shape)

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Computes the interactions of all orders."""
        # Width before rows, so that every layer is one matrix product.
        first = rows = tf.transpose(fields, [0, 2, 1])
        count, width = tf.shape(fields)[0], fields.shape[2]
        pooled = []
        for kernel in self._kernels:
            products = rows[:, :, :, tf.newaxis] * first[:, :, tf.newaxis]
            products = tf.reshape(products, [count * width, kernel.shape[0]])
            compressed = tf.linalg.matmul(products, kernel)
            rows = tf.reshape(compressed, [count, width, kernel.shape[1]])
            pooled.append(tf.reduce_sum(rows, axis=1))
        return tf.concat(pooled, axis=1)

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {**super().get_config(), "units": list(self.units)}
