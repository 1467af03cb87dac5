"""Knowledge vectors whose components all have one scale."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.adapters.frozen import frozen_weight
from models.knowledge import KnowledgeTable
from models.row_chunks import row_chunks


class Standardization(tf.keras.layers.Layer):
    """z_k = (x_k - m_k) / s_k, with mean m and deviation s over the rows of a table.

    Encoders give some components a mean or a spread many times that of the others, and a network
    that starts with weights of one size then sees little but those. Row 0 ("missing") does not
    count, and a component that is the same in all rows gives 0. The statistics are computed when
    the layer is made, and are saved with the weights: answers that are added later meet the scale
    that the network was trained with.

    Shapes: [..., dimension] -> [..., dimension], float32 under any precision policy.
    """

    def __init__(self, table: KnowledgeTable, **kwargs: object):
        """Computes the statistics of the table's rows."""
        kwargs.setdefault("name", f"{table.source}_standardization")
        # The difference to the mean may lie beyond the digits of a lower precision.
        super().__init__(**kwargs | {"dtype": "float32"})
        mean, scale = component_statistics(table)
        self._mean = frozen_weight(self, "mean", mean)
        self._scale = frozen_weight(self, "scale", scale)

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        """Standardises vectors."""
        return (vectors - self._mean) * self._scale


def component_statistics(table: KnowledgeTable) -> tuple[np.ndarray, np.ndarray]:
    """Mean and 1 / deviation of every component over all rows of a table but row 0.

    Returns:
      Two float64 arrays [dimension]; the second is 0 where a component is constant.
    """
    count = table.num_rows - 1
    total, squares = np.zeros(table.dimension), np.zeros(table.dimension)
    least, most = np.full(table.dimension, np.inf), np.full(table.dimension, -np.inf)
    for rows in row_chunks(1, table.num_rows):
        vectors = table.vectors(rows).numpy().astype(np.float64)
        total += vectors.sum(axis=0)
        least, most = np.minimum(least, vectors.min(axis=0)), np.maximum(most, vectors.max(axis=0))
    mean = total / count
    for rows in row_chunks(1, table.num_rows):
        squares += np.square(table.vectors(rows).numpy().astype(np.float64) - mean).sum(axis=0)
    # Rounding may give equal numbers a deviation other than 0.
    constant = least == most
    deviation = np.sqrt(squares / count)
    return mean, np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, deviation))
