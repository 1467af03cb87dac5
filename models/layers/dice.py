"""Dice, the data-adaptive activation of Deep Interest Network."""

from __future__ import annotations

import tensorflow as tf

from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class Dice(tf.keras.layers.Layer):
    """f(s) = p(s) s + (1 - p(s)) alpha s with p(s) = sigmoid((s - E[s]) / sqrt(Var[s] + epsilon)).

    Source: "Deep Interest Network for Click-Through Rate Prediction" (arXiv 1706.06978), Eq. (3).
    E and Var are batch statistics in training and moving averages otherwise, so that a served score
    does not depend on the other rows of its batch.

    Shapes: [..., units] -> [..., units].

    Attributes:
      momentum: of the moving averages.
      epsilon: keeps the division finite.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-8, **kwargs: object):
        """Creates the activation."""
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates alpha and the moving statistics."""
        self._normalise = tf.keras.layers.BatchNormalization(
            momentum=self.momentum, epsilon=self.epsilon, center=False, scale=False
        )
        self._alpha = self.add_weight(name="alpha", shape=(input_shape[-1],), initializer="zeros")
        super().build(input_shape)

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Applies the activation.

        Args:
          inputs: [..., units].
          training: whether batch statistics are used, and the moving averages updated.
          mask: bool [...], false where a position must not enter the batch statistics.

        Returns:
          [..., units].
        """
        if mask is not None:
            # Statistics of nothing are not defined; then all positions count.
            mask = mask | ~tf.reduce_any(mask)
        share = tf.sigmoid(self._normalise(inputs, training=training, mask=mask))
        return share * inputs + (1.0 - share) * self._alpha * inputs

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}
