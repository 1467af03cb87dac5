"""Layer normalisation of every field by itself."""

from __future__ import annotations

import tensorflow as tf

from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FieldNormalization(tf.keras.layers.Layer):
    """LN_EMB: y_i = g_i * (v_i - mean(v_i)) / sqrt(var(v_i) + epsilon) + b_i for every field i.

    Source: "MaskNet" (arXiv 2102.07619), Eq. (8) and (9): mean and variance are those of one
    field's numbers, gain and bias each field's own. A field of zeros stays b_i.

    Shapes: [n, fields, width] -> [n, fields, width].

    Attributes:
      epsilon: keeps the division finite.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: object):
        """Creates the layer."""
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates gain and bias."""
        self._normalise = tf.keras.layers.LayerNormalization(
            epsilon=self.epsilon, center=False, scale=False
        )
        self._gain = self.add_weight(name="gain", shape=input_shape[1:], initializer="ones")
        self._bias = self.add_weight(name="bias", shape=input_shape[1:], initializer="zeros")
        super().build(input_shape)

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Normalises every field."""
        return self._gain * self._normalise(fields) + self._bias

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}
