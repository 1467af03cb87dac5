"""Heads of an attention: their projections, and vectors cut into them and put together again."""

from __future__ import annotations

import tensorflow as tf


def head_projections(units: int) -> tuple[tf.keras.layers.Dense, ...]:
    """Linear layers for queries, keys, values and the heads side by side, all of a width."""
    return tuple(
        tf.keras.layers.Dense(units, use_bias=False, name=name)
        for name in ("query", "key", "value", "heads_out")
    )


def by_head(values: tf.Tensor, num_heads: int) -> tf.Tensor:
    """[b, k, units] -> [b, heads, k, units / heads]."""
    shape = [*_first_axes(values, 1), num_heads, values.shape[2] // num_heads]
    return tf.transpose(tf.reshape(values, shape), [0, 2, 1, 3])


def side_by_side(heads: tf.Tensor) -> tf.Tensor:
    """[b, heads, k, width] -> [b, k, heads * width]."""
    units = heads.shape[1] * heads.shape[3]
    return tf.reshape(tf.transpose(heads, [0, 2, 1, 3]), [*_first_axes(heads, 2), units])


def head_scores(query: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Q' k / sqrt(width): [b, heads, q, width], [b or 1, heads, k, width] -> [b, heads, q, k]."""
    return tf.matmul(query, key, transpose_b=True) * float(query.shape[-1]) ** -0.5


def _first_axes(values: tf.Tensor, count_axis: int) -> tuple[tf.Tensor, int | tf.Tensor]:
    """Sizes of the batch and of another axis, the latter as a number where a graph knows it."""
    sizes = tf.shape(values)
    return sizes[0], values.shape[count_axis] or sizes[count_axis]
