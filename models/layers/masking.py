"""What padding must not do: take part in a softmax, or reach any arithmetic."""

from __future__ import annotations

import tensorflow as tf


def without_padding(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Puts zeros in the place of padding, which may hold anything, NaN and infinity included.

    Before any arithmetic: 0 times NaN is NaN, in a product as in its gradient.

    Args:
      values: [..., any inner axes].
      mask: bool [...], with the first axes of the values; false on padding.

    Returns:
      Shaped like the values. No gradient reaches padding.
    """
    values, mask = tf.convert_to_tensor(values), tf.convert_to_tensor(mask)
    inner = values.shape.rank - mask.shape.rank
    real = tf.reshape(mask, tf.concat([tf.shape(mask), [1] * inner], axis=0)) if inner else mask
    return tf.where(real, values, tf.zeros([], values.dtype))


def masked_softmax(scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Normalises scores over the last axis; padding gets 0, and so does all of an empty history.

    Args:
      scores: [..., length].
      mask: bool, broadcast against the scores, false on padding.

    Returns:
      [..., length], sums of 1, or 0 where nothing is real.
    """
    hidden = tf.where(mask, scores, scores.dtype.min)
    largest = tf.stop_gradient(tf.reduce_max(hidden, axis=-1, keepdims=True))
    weights = tf.exp(hidden - largest) * tf.cast(mask, scores.dtype)
    return tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=-1, keepdims=True))
