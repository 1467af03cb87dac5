"""Dice, the data-adaptive activation of Deep Interest Network."""

from __future__ import annotations

import tensorflow as tf

from models.layers.batch_standardization import BatchStandardization
from models.option_checks import one_of
from models.registration import PACKAGE

DICE_STATISTICS = ("moving", "batch")
_EPSILONS = {"moving": 1e-8, "batch": 1e-9}


@tf.keras.utils.register_keras_serializable(PACKAGE)
class Dice(tf.keras.layers.Layer):
    """f(s) = p(s) s + (1 - p(s)) alpha s with p(s) = sigmoid((s - E[s]) / sqrt(Var[s] + epsilon)).

    Source: "Deep Interest Network for Click-Through Rate Prediction" (arXiv 1706.06978), Eq. (3).

    - "moving": E and Var of every unit, over all positions that are real, are batch statistics in
      training and moving averages otherwise, so that a served score does not depend on the other
      rows of its batch. Every unit has its own alpha.
    - "batch", the arithmetic that REKI was published with (arXiv 2408.10520): E and Var of every
      unit at every position, [steps, units] for inputs [batch, steps, units], are those over the
      rows of the batch, in inference too; padding counts; Var divides by rows - 1; one alpha serves
      all units. For comparison only, not for serving: a score depends on the other rows. Replicas
      of `tf.distribute` each use the statistics of their part. A single row, whose variance is not
      defined, has variance 0 here.

    Shapes: [..., units] -> [..., units].

    Attributes:
      momentum: of the moving averages.
      epsilon: keeps the division finite; 1e-8, or 1e-9 with "batch", when left out.
      statistics: "moving" or "batch".
    """

    def __init__(
        self,
        momentum: float = 0.9,
        epsilon: float | None = None,
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
        self.epsilon = _EPSILONS[statistics] if epsilon is None else epsilon
        self.statistics = statistics

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates alpha and the moving statistics."""
        is_moving = self.statistics == "moving"
        if is_moving:
            self._normalise = BatchStandardization(self.momentum, self.epsilon)
        shape = (input_shape[-1],) if is_moving else ()
        self._alpha = self.add_weight(name="alpha", shape=shape, initializer="zeros")
        super().build(input_shape)

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Applies the activation.

        Args:
          inputs: [..., units].
          training: of "moving": whether batch statistics are used, and the averages updated.
          mask: of "moving": bool [...], false where a position must not enter batch statistics.

        Returns:
          [..., units].
        """
        if self.statistics == "moving":
            normalised = self._normalise(inputs, training=training, mask=mask)
        else:
            normalised = self._normalised_by_position(inputs)
        share = tf.sigmoid(normalised)
        return inputs * (self._alpha + share * (1.0 - self._alpha))

    def _normalised_by_position(self, inputs: tf.Tensor) -> tf.Tensor:
        # In bfloat16 sums over a batch would have three digits.
        centred = tf.cast(inputs, tf.float32)
        centred -= tf.reduce_mean(centred, axis=0)
        others = tf.maximum(tf.cast(tf.shape(inputs)[0], tf.float32) - 1.0, 1.0)
        variance = tf.reduce_sum(tf.square(centred), axis=0) / others
        return tf.cast(centred * tf.math.rsqrt(variance + self.epsilon), inputs.dtype)

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "statistics": self.statistics,
        }
