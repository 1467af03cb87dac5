"""Tables whose number of rows is not part of the graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def growing_table(
    values: np.ndarray | tf.Tensor | Sequence[str],
    name: str,
    dtype: tf.DType | None = None,
) -> tf.Variable:
    """A variable [rows, ...] that is not trained and whose number of rows may change.

    In a SavedModel the number of rows stands only in the checkpoint, so that a table with further
    rows takes its place without a change of the graph.

    Args:
      values: the rows.
      name: of the variable, by which an export's checkpoint is read again.
      dtype: number format; that of the values if None.
    """
    values = tf.convert_to_tensor(values, dtype=dtype)
    return tf.Variable(
        values, trainable=False, name=name, shape=tf.TensorShape([None, *values.shape[1:]])
    )
