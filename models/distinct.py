"""Computing once per distinct id of a batch."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def map_distinct(function: Callable[[tf.Tensor], tf.Tensor], rows: tf.Tensor) -> tf.Tensor:
    """Applies a function of rows to the distinct rows only and spreads the result.

    Args:
      function: int [distinct] -> [distinct, ...].
      rows: int [...].

    Returns:
      [..., ...], equal to applying the function to every row.
    """
    distinct, positions = tf.unique(tf.reshape(rows, [-1]))
    return tf.gather(function(distinct), tf.reshape(positions, tf.shape(rows)))
