"""Fields that are not there when training begins."""

from __future__ import annotations

import tensorflow as tf

from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class ZeroStart(tf.keras.layers.Layer):
    """z_f = alpha_f a_f with one trained number alpha_f per field, 0 at first.

    Augmented vectors that are random when training begins disturb what the other fields learn.
    Behind this layer the model begins as if without them and lets each in as far as it lowers the
    loss (ReZero, arXiv 2003.04887, does so with residual branches). Until alpha has moved, no
    gradient reaches what computes the fields; it moves in the first step.

    Shapes: [..., fields, width] -> [..., fields, width].
    """

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the number of every field."""
        self._alpha = self.add_weight(name="alpha", shape=(input_shape[-2],), initializer="zeros")
        super().build(input_shape)

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Scales the fields."""
        return fields * self._alpha[:, tf.newaxis]
