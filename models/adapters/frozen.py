"""Weights that are computed from data once and never trained."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def frozen_weight(layer: tf.keras.layers.Layer, name: str, values: np.ndarray) -> tf.Variable:
    """Adds a weight to a layer that holds `values`, int32 or float32, and is not trained.

    It stays in full precision where a layer computes in mixed precision, and is saved with the
    trained weights, so that what they were trained with outlives a change of the data.
    """
    dtype = tf.int32 if np.issubdtype(values.dtype, np.integer) else tf.float32
    weight = layer.add_weight(
        name=name,
        shape=values.shape,
        dtype=dtype,
        initializer="zeros",
        trainable=False,
        experimental_autocast=False,
    )
    weight.assign(values.astype(dtype.as_numpy_dtype))
    return weight
