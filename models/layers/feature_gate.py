"""Importance of every input, from a context."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.layers.top_network import top_network
from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FeatureGate(tf.keras.layers.Layer):
    """h = 2 sigmoid(g) * e with g = Gate(context), a small dense network.

    Source: stream-specific feature selection of "FinalMLP: An Enhanced Two-Stream MLP Model for CTR
    Prediction" (arXiv 2304.00902). The factor 2 keeps importances around 1.

    Shapes: features [n, width] and context [n or 1, context width] -> [n, width].

    Attributes:
      hidden_units: widths of the gate's hidden layers.
    """

    def __init__(self, hidden_units: Sequence[int] = (64,), **kwargs: object):
        """Creates the layer."""
        super().__init__(**kwargs)
        self.hidden_units = tuple(hidden_units)

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the gate."""
        self._hidden = top_network(self.hidden_units, dropout_rate=0.0, name="gate")
        self._importance = tf.keras.layers.Dense(input_shape[0][-1], activation="sigmoid")
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Weights the features.

        Args:
          inputs: features [n, width], context [n or 1, context width].

        Returns:
          [n, width].
        """
        features, context = inputs
        return 2.0 * self._importance(self._hidden(context)) * features

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {**super().get_config(), "hidden_units": list(self.hidden_units)}
