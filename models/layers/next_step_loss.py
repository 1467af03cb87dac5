"""The auxiliary loss that teaches a recurrent state what comes next."""

from __future__ import annotations

import tensorflow as tf

from models.layers.masking import without_padding


def next_step_loss(
    states: tf.Tensor, items: tf.Tensor, mask: tf.Tensor, negatives: tf.Tensor
) -> tf.Tensor:
    """A state must tell the next item of its history from a random one.

    loss = -mean_t [log sigmoid(h_t' e_{t+1}) + log(1 - sigmoid(h_t' n_{t+1}))], where e_{t+1} is
    the item of the next step and n_{t+1} one that another step of the batch holds.

    Source: "Deep Interest Evolution Network" (arXiv 1809.03672), Eq. (6), averaged over steps too,
    so that its weight does not depend on the history's length.

    Args:
      states: [m, length, width].
      items: [m, length, width].
      mask: bool [m, length], false on padding.
      negatives: int [m, length], for each step the position, in the order of the flattened
        [m * length] steps of the batch, of the item that is its negative. Where that one is
        padding, the step has no negative.

    Returns:
      A float32 scalar; 0 where no history has two steps.
    """
    states, items = (
        without_padding(tf.cast(values, tf.float32), mask) for values in (states, items)
    )
    width = items.shape[2]
    wrong = tf.gather(tf.reshape(items, [-1, width]), negatives)
    wrong_mask = tf.gather(tf.reshape(mask, [-1]), negatives)
    following = mask[:, :-1] & mask[:, 1:]
    right = _log_sigmoid(states, items, following)
    return -(right + _log_sigmoid(states, -wrong, following & wrong_mask[:, 1:]))


def _log_sigmoid(states: tf.Tensor, items: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    products = tf.reduce_sum(states[:, :-1] * items[:, 1:], axis=2)
    shares = tf.cast(counted, tf.float32)
    total = tf.reduce_sum(tf.math.log_sigmoid(products) * shares)
    return tf.math.divide_no_nan(total, tf.reduce_sum(shares))
