"""Weights that say which fields matter for this row."""

from __future__ import annotations

import tensorflow as tf

from models.option_checks import one_of, positive
from models.registration import PACKAGE

EXCITATION_ACTIVATIONS = ("relu", "sigmoid")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class SqueezeExcitation(tf.keras.layers.Layer):
    """SENet over fields: v_i = a_i e_i with a = act(W_2 ReLU(W_1 z)) and z_i the mean of e_i.

    Source: "FiBiNET" (arXiv 1905.09433), Section 3.3, whose reduction ratio r is the factor 1/r
    here. REKI (arXiv 2408.10520) widens instead: factor 2.

    Shapes: [n, fields, width] -> [n, fields, width].

    Attributes:
      factor: hidden units per field, at least one unit in all.
      activation: of the weights. "relu", the paper's, can switch a field off; "sigmoid" cannot.
    """

    def __init__(self, factor: float = 2.0, activation: str = "relu", **kwargs: object):
        """Creates the layer.

        Raises:
          ValueError: the factor is not positive, or the activation is unknown.
        """
        super().__init__(**kwargs)
        positive(factor=factor)
        one_of(EXCITATION_ACTIVATIONS, activation=activation)
        self.factor = factor
        self.activation = activation

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the two layers of the excitation."""
        fields = input_shape[1]
        hidden_units = max(1, int(fields * self.factor))
        self._hidden = tf.keras.layers.Dense(hidden_units, activation="relu", use_bias=False)
        self._weights = tf.keras.layers.Dense(fields, activation=self.activation, use_bias=False)
        super().build(input_shape)

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Weighs the fields."""
        weights = self._weights(self._hidden(tf.reduce_mean(fields, axis=2)))
        return fields * weights[:, :, tf.newaxis]

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {**super().get_config(), "factor": self.factor, "activation": self.activation}
