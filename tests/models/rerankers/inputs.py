"""Lists for the tests of re-rankers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.rerankers.base import ListInputs
from tests.models.builders import randomise

WIDTH = 3


def list_inputs(
    lists: int = 4, size: int = 5, length: int = 5, sources: int = 2, seed: int = 0
) -> ListInputs:
    """Random lists, of 5, 3, 4 and 1 candidates, with padding between and behind them.

    Two item fields, steps of width 8, histories of 5, 4, 3 and 2 steps with padding in front, four
    numbers.
    """
    random = np.random.default_rng(seed)
    patterns = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 1, 1, 1, 1], [1, 0, 0, 0, 0]])

    def normal(*shape: int) -> tf.Tensor:
        return tf.constant(random.normal(size=shape), tf.float32)

    return ListInputs(
        candidate=normal(lists, size, 2, WIDTH),
        candidate_mask=tf.constant(np.resize(patterns, [lists, 5])[:, :size] == 1),
        history=normal(lists, length, 2 * WIDTH + 2),
        history_mask=tf.constant(np.arange(length) >= np.arange(lists)[:, np.newaxis] % 4),
        numeric=normal(lists, size, 4),
        side_fields=normal(lists, size, sources, WIDTH),
    )


def list_of(inputs: ListInputs, index: int) -> ListInputs:
    """One list with its user, as a batch of 1."""
    return ListInputs(*[field[index : index + 1] for field in inputs])


def chosen(inputs: ListInputs, order: list[int]) -> ListInputs:
    """The candidates at these places of every list."""
    return inputs._replace(
        **{
            name: tf.gather(getattr(inputs, name), tf.cast(order, tf.int32), axis=1)
            for name in ("candidate", "candidate_mask", "numeric", "side_fields")
        }
    )


def with_padded_history(inputs: ListInputs, steps: int) -> ListInputs:
    """The same with further steps in front, filled with numbers that must not matter."""
    lists, _, width = inputs.history.shape
    garbage = tf.fill([lists, steps, width], 30.0)
    return inputs._replace(
        history=tf.concat([garbage, inputs.history], axis=1),
        history_mask=tf.concat([tf.fill([lists, steps], False), inputs.history_mask], axis=1),
    )


def with_other_padding(inputs: ListInputs) -> ListInputs:
    """The same with other numbers on padding, of candidates and of histories."""

    def filled(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        while mask.shape.rank < values.shape.rank:
            mask = mask[..., tf.newaxis]
        return tf.where(mask, values, 30.0)

    return inputs._replace(
        candidate=filled(inputs.candidate, inputs.candidate_mask),
        numeric=filled(inputs.numeric, inputs.candidate_mask),
        side_fields=filled(inputs.side_fields, inputs.candidate_mask),
        history=filled(inputs.history, inputs.history_mask),
    )


def specification(inputs: ListInputs) -> ListInputs:
    """What a graph may know of lists: numbers of lists, candidates and steps are open."""
    return ListInputs(
        candidate=tf.TensorSpec([None, None, *inputs.candidate.shape[2:]]),
        candidate_mask=tf.TensorSpec([None, None], tf.bool),
        history=tf.TensorSpec([None, None, inputs.history.shape[2]]),
        history_mask=tf.TensorSpec([None, None], tf.bool),
        numeric=tf.TensorSpec([None, None, inputs.numeric.shape[2]]),
        side_fields=tf.TensorSpec([None, None, *inputs.side_fields.shape[2:]]),
    )


def used(layer: tf.keras.layers.Layer, inputs: ListInputs) -> tf.keras.layers.Layer:
    """The re-ranker with random weights, and moving statistics after one training step."""
    layer(inputs)
    randomise(layer.trainable_weights, seed=3, scale=0.3)
    layer(inputs, training=True)
    return layer
