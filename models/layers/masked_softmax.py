"""Softmax over the real steps of a history."""

from __future__ import annotations

import tensorflow as tf


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
