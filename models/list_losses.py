"""Losses of lists of candidates."""

from __future__ import annotations

import tensorflow as tf


def pointwise_loss(logits: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Binary cross entropy of every real candidate by itself, their mean.

    Args:
      logits: [b, L].
      labels: [b, L], 0 or 1.
      mask: bool [b, L], false on padding.

    Returns:
      A float32 scalar; 0 where nothing is real.
    """
    losses = tf.nn.sigmoid_cross_entropy_with_logits(
        labels=tf.cast(labels, tf.float32), logits=tf.cast(logits, tf.float32)
    )
    return _mean_where(losses, mask)


def listwise_loss(logits: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Cross entropy of a list's softmax, the mean over lists that hold a positive.

    loss = -sum_i y_i / (sum_k y_k) log softmax(logits)_i, over the real candidates i of the list.

    Source: the loss of "Personalized Re-ranking for Recommendation" (arXiv 1904.06813), section
    4.4, with labels that sum to 1, so that every list counts alike. A list without a positive says
    nothing about its order.

    Args:
      logits: [b, L].
      labels: [b, L], 0 or more.
      mask: bool [b, L], false on padding.

    Returns:
      A float32 scalar; 0 where no list holds a positive.
    """
    labels = tf.where(mask, tf.cast(labels, tf.float32), 0.0)
    total = tf.reduce_sum(labels, axis=1, keepdims=True)
    shares = tf.math.divide_no_nan(labels, total)
    log_probabilities = tf.nn.log_softmax(_hidden(logits, mask))
    losses = -tf.reduce_sum(shares * tf.where(mask, log_probabilities, 0.0), axis=1)
    return _mean_where(losses, total[:, 0] > 0)


def list_probabilities(logits: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Softmax over the real candidates of each list: [b, L], 0 on padding."""
    return tf.where(mask, tf.nn.softmax(_hidden(logits, mask)), 0.0)


LIST_LOSSES = {"pointwise": pointwise_loss, "listwise": listwise_loss}


def _hidden(logits: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    # Not the smallest number, whose difference to a logit would be no number.
    return tf.where(mask, tf.cast(logits, tf.float32), -1e30)


def _mean_where(losses: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    total = tf.reduce_sum(tf.where(counted, losses, 0.0))
    return tf.math.divide_no_nan(total, tf.reduce_sum(tf.cast(counted, tf.float32)))
