"""Dice, the data-adaptive activation of Deep Interest Network."""

from __future__ import annotations

import tensorflow as tf

from models.layers.batch_standardization import (
    BatchStandardization,
    all_if_none,
    masked_moments,
)
from models.option_checks import one_of
from models.registration import PACKAGE

DICE_STATISTICS = ("moving", "batch")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class Dice(tf.keras.layers.Layer):
    """f(s) = p(s) s + (1 - p(s)) alpha s with p(s) = sigmoid((s - E[s]) / sqrt(Var[s] + epsilon)).

    Source: "Deep Interest Network for Click-Through Rate Prediction" (arXiv 1706.06978), Eq. (3).
    E and Var are batch statistics in training and moving averages otherwise, so that a served score
    does not depend on the other rows of its batch. With `statistics="batch"` they are the batch's
    at inference too, as in the authors' code: for comparison only, not for serving.

    Shapes: [..., units] -> [..., units].

    Attributes:
      momentum: of the moving averages.
      epsilon: keeps the division finite.
      statistics: "moving" or "batch", what inference uses.
    """

    def __init__(
        self,
        momentum: float = 0.9,
        epsilon: float = 1e-8,
        statistics: str = "moving",
        **kwargs: object,
    ):
        """Creates the activation.

        Raises:
          ValueError: there are no such statistics.
        """
        super().__init__(**kwargs)
        one_of(DICE_STATISTICS, statistics=statistics)
        self.momentum = momentum
        self.epsilon = epsilon
        self.statistics = statistics

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates alpha and the moving statistics."""
        if self.statistics == "moving":
            self._normalise = BatchStandardization(self.momentum, self.epsilon)
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
        share = tf.sigmoid(self._normalised(inputs, training, mask))
        return inputs * (self._alpha + share * (1.0 - self._alpha))

    def _normalised(
        self, inputs: tf.Tensor, training: bool | None, mask: tf.Tensor | None
    ) -> tf.Tensor:
        if self.statistics == "moving":
            return self._normalise(inputs, training=training, mask=mask)
        counted = tf.ones_like(inputs[..., 0], tf.bool) if mask is None else all_if_none(mask)
        mean, variance = masked_moments(inputs, counted)
        scaled = (tf.cast(inputs, mean.dtype) - mean) * tf.math.rsqrt(variance + self.epsilon)
        return tf.cast(scaled, inputs.dtype)

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "statistics": self.statistics,
        }
