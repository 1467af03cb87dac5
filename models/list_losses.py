"""Losses of lists of candidates."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.class_weights import EQUAL_WEIGHTS, label_weights


def pointwise_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    mask: tf.Tensor,
    class_weights: Sequence[float] = EQUAL_WEIGHTS,
) -> tf.Tensor:
    """Binary cross entropy of every real candidate by itself, their mean.

    Args:
      logits: [b, L].
      labels: [b, L], 0 or 1.
      mask: bool [b, L], false on padding.
      class_weights: weights of the losses of candidates with label 0 and label 1
        (`models.class_weights`).

    Returns:
      A float32 scalar; 0 where nothing is real.
    """
    losses = tf.nn.sigmoid_cross_entropy_with_logits(
        labels=tf.cast(labels, tf.float32), logits=tf.cast(logits, tf.float32)
    )
    weights = label_weights(labels, class_weights)
    return _mean_where(losses if weights is None else losses * weights, mask)


def count_candidates(labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Number of candidates over which `pointwise_loss` is the mean, a float32 scalar."""
    del labels
    return tf.reduce_sum(tf.cast(mask, tf.float32))


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
    labels, total = _real(labels, mask)
    shares = tf.math.divide_no_nan(labels, total)
    log_probabilities = tf.nn.log_softmax(_hidden(logits, mask))
    losses = -tf.reduce_sum(shares * tf.where(mask, log_probabilities, 0.0), axis=1)
    return _mean_where(losses, total[:, 0] > 0)


def count_lists(labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Number of lists over which `listwise_loss` is the mean, a float32 scalar."""
    _, total = _real(labels, mask)
    return tf.reduce_sum(tf.cast(total > 0, tf.float32))


def list_probabilities(logits: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Softmax over the real candidates of each list: [b, L], 0 on padding."""
    return tf.where(mask, tf.nn.softmax(_hidden(logits, mask)), 0.0)


LIST_LOSSES = {"pointwise": pointwise_loss, "listwise": listwise_loss}
LOSS_COUNTS = {"pointwise": count_candidates, "listwise": count_lists}


def _real(labels: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Labels with 0 on padding, [b, L], and their sum in each list, [b, 1]."""
    labels = tf.where(mask, tf.cast(labels, tf.float32), 0.0)
    return labels, tf.reduce_sum(labels, axis=1, keepdims=True)


def _hidden(logits: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    # Not the smallest number, whose difference to a logit would be no number.
    return tf.where(mask, tf.cast(logits, tf.float32), -1e30)


def _mean_where(losses: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    total = tf.reduce_sum(tf.where(counted, losses, 0.0))
    return tf.math.divide_no_nan(total, tf.reduce_sum(tf.cast(counted, tf.float32)))
