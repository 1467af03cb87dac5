"""Standardisation by the statistics of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.layers.masking import without_padding
from models.registration import PACKAGE


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
