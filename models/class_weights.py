"""Weights of samples by their label."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

EQUAL_WEIGHTS = (1.0, 1.0)


def label_weights(labels: tf.Tensor, class_weights: Sequence[float]) -> tf.Tensor | None:
    """What the losses of samples are multiplied by; their mean is still over all samples.

    With weights (w_0, w_1) the loss is 1/n sum_i w_(y_i) loss_i. Only the ratio w_1 / w_0 moves the
    optimum; it multiplies the odds that the model tells, so that scores are no probabilities then.

    Args:
      labels: 0 or 1, [...].
      class_weights: of labels 0 and 1.

    Returns:
      float32, of the labels' shape; None if both weights are 1.
    """
    if tuple(class_weights) == EQUAL_WEIGHTS:
        return None
    of_negatives, of_positives = class_weights
    return tf.where(tf.cast(labels, tf.float32) > 0.5, of_positives, of_negatives)
