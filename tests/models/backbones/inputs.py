"""Fields for the tests of backbones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from models.backbones.base import BackboneInputs
from tests.models.builders import randomise

WIDTH = 3


def backbone_inputs(
    count: int = 4, users: int | None = None, length: int = 5, sources: int = 2
) -> BackboneInputs:
    """Random fields: two item fields, steps of width 8, padding in front, four numbers."""
    random = np.random.default_rng(0)
    users = count if users is None else users

    def normal(*shape: int) -> tf.Tensor:
        return tf.constant(random.normal(size=shape), tf.float32)

    return BackboneInputs(
        candidate=normal(count, 2, WIDTH),
        history=normal(users, length, 2 * WIDTH + 2),
        history_mask=tf.constant(np.arange(length) >= np.arange(users)[:, np.newaxis]),
        numeric=normal(count, 4),
        side_fields=normal(count, sources, WIDTH),
    )


def row_of(inputs: BackboneInputs, row: int) -> BackboneInputs:
    """One candidate with its user, as a batch of 1."""
    return BackboneInputs(*[field[row : row + 1] for field in inputs])


def padded(inputs: BackboneInputs, steps: int) -> BackboneInputs:
    """The same with further padding in front, filled with numbers that must not matter."""
    users, _, width = inputs.history.shape
    garbage = tf.fill([users, steps, width], 30.0)
    return inputs._replace(
        history=tf.concat([garbage, inputs.history], axis=1),
        history_mask=tf.concat([tf.fill([users, steps], False), inputs.history_mask], axis=1),
    )


def specification(inputs: BackboneInputs) -> BackboneInputs:
    """What a graph may know of the fields: batch sizes and the history's length are open."""
    return BackboneInputs(
        candidate=tf.TensorSpec([None, *inputs.candidate.shape[1:]]),
        history=tf.TensorSpec([None, None, inputs.history.shape[2]]),
        history_mask=tf.TensorSpec([None, None], tf.bool),
        numeric=tf.TensorSpec([None, *inputs.numeric.shape[1:]]),
        side_fields=tf.TensorSpec([None, *inputs.side_fields.shape[1:]]),
    )


def used(layer: tf.keras.layers.Layer, inputs: BackboneInputs) -> tf.keras.layers.Layer:
    """The backbone with random weights, and moving statistics after one training step."""
    layer(inputs)
    randomise(layer.trainable_weights, seed=3, scale=0.3)
    layer(inputs, training=True)
    return layer


def assert_logits_follow(
    numpy_logit: Callable[[tf.keras.layers.Layer, BackboneInputs, int, int], float],
    layer: tf.keras.layers.Layer,
    sources: int,
    atol: float = 1e-5,
    rtol: float = 1e-7,
) -> None:
    """Logits of four candidates, with a user each and of one user, are those of the formula.

    Args:
      numpy_logit: logit of a used layer for inputs, the row of a candidate and that of its user.
      layer: a new backbone.
      sources: number of side fields.
      atol: absolute tolerance.
      rtol: relative tolerance.
    """
    used(layer, backbone_inputs(sources=sources))
    for users in (1, 4):
        inputs = backbone_inputs(users=users, sources=sources)
        expected = [[numpy_logit(layer, inputs, row, row % users)] for row in range(4)]
        np.testing.assert_allclose(layer(inputs), expected, atol=atol, rtol=rtol)
        assert np.ptp(expected) > 1e-2
