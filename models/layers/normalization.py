"""Standardisation of batches and fields, and Dice, the activation that standardises."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.layer_support import PACKAGE, ConfiguredLayer, one_of
from models.layers.masking import without_padding


@tf.keras.utils.register_keras_serializable(PACKAGE)
class BatchStandardization(tf.keras.layers.BatchNormalization):
    """y = (x - E[x]) / sqrt(Var[x] + epsilon), E and Var of every unit over the batch in training.

    Otherwise they are moving averages of those. Batch normalisation (arXiv 1502.03167) without its
    scale and shift, and with two differences to Keras' layer: where `tf.distribute` gives every
    replica a part of the batch, the statistics are those of the whole batch, computed in two passes
    (Keras subtracts squares, which leaves nothing of the variance of years); and a mask that counts
    nothing counts everything.

    Shapes: [..., units], mask bool [...] -> [..., units].

    Attributes:
      momentum: of the moving averages.
      epsilon: keeps the division finite.
    """

    def __init__(self, momentum: float = 0.99, epsilon: float = 1e-3, **kwargs: object):
        """Creates the layer."""
        super().__init__(momentum=momentum, epsilon=epsilon, center=False, scale=False, **kwargs)

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Standardises.

        Args:
          inputs: [..., units].
          training: whether batch statistics are used, and the moving averages updated.
          mask: bool [...], false where a position must not enter the batch statistics.

        Returns:
          [..., units].
        """
        if mask is not None:
            mask = all_if_none(mask)
        return super().call(inputs, training=training, mask=mask)

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        config = super().get_config()
        for name in ("center", "scale"):
            del config[name]
        return config

    def _calculate_mean_and_var(
        self,
        inputs: tf.Tensor,
        reduction_axes: Sequence[int],
        keep_dims: bool,
        mask: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if mask is not None:
            inputs = without_padding(inputs, mask)
        if not _has_other_replicas():
            return super()._calculate_mean_and_var(inputs, reduction_axes, keep_dims, mask)
        counted = tf.ones_like(inputs[..., 0], tf.bool) if mask is None else mask
        return masked_moments(inputs, counted)


def masked_moments(inputs: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance of every unit over the positions of the whole batch that count.

    Args:
      inputs: [..., units].
      mask: bool [...], true somewhere on some replica.

    Returns:
      Two tensors [units], float32 for inputs of less precision.
    """
    if inputs.dtype.size < tf.float32.size:
        inputs = tf.cast(inputs, tf.float32)
    weights = tf.cast(mask, inputs.dtype)[..., tf.newaxis]
    axes = list(range(inputs.shape.rank - 1))
    if not _has_other_replicas():
        return tf.nn.weighted_moments(inputs, axes, weights)
    count = _over_replicas(tf.reduce_sum(weights))
    mean = _over_replicas(tf.reduce_sum(inputs * weights, axes)) / count
    squares = tf.square(inputs - mean) * weights
    return mean, _over_replicas(tf.reduce_sum(squares, axes)) / count


def all_if_none(mask: tf.Tensor) -> tf.Tensor:
    """The mask, or one that counts every position if none of the whole batch counts."""
    if not _has_other_replicas():
        return mask | ~tf.reduce_any(mask)
    return mask | (_over_replicas(tf.reduce_sum(tf.cast(mask, tf.float32))) == 0)


def _has_other_replicas() -> bool:
    context = tf.distribute.get_replica_context()
    return context is not None and context.num_replicas_in_sync > 1


def _over_replicas(values: tf.Tensor) -> tf.Tensor:
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FieldNormalization(ConfiguredLayer):
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


DICE_STATISTICS = ("moving", "batch")
_EPSILONS = {"moving": 1e-8, "batch": 1e-9}


@tf.keras.utils.register_keras_serializable(PACKAGE)
class Dice(ConfiguredLayer):
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
