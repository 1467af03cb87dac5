from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.layers.attention import TargetAttention
from tests.models.builders import gradients_of, randomise
from tests.models.numpy_attention import numpy_attention

COUNT, LENGTH, WIDTH, STEP_WIDTH = 4, 5, 3, 6


def inputs(users: int = COUNT) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return (
        random.normal(size=[COUNT, WIDTH]).astype(np.float32),
        random.normal(size=[users, LENGTH, STEP_WIDTH]).astype(np.float32),
        np.arange(LENGTH) >= np.array([[0], [2], [4], [5]])[:users],
    )


def attention(softmax: bool = False) -> TargetAttention:
    """Hidden layers of 4 and 3 with random weights; moving statistics after one training step."""
    layer = TargetAttention((4, 3), softmax=softmax)
    layer(inputs())
    randomise(layer.trainable_weights, seed=1)
    layer(inputs(), training=True)
    return layer


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("users", [1, COUNT])
def test_scores_follow_the_formula(users: int, softmax: bool) -> None:
    layer, (candidates, history, mask) = attention(softmax), inputs(users)
    expected = [
        numpy_attention(layer, candidates[row], history[row % users], mask[row % users])
        for row in range(COUNT)
    ]
    np.testing.assert_allclose(layer((candidates, history, mask)), expected, atol=1e-5)


def test_padding_changes_nothing() -> None:
    layer, (candidates, history, mask) = attention(), inputs()
    padded = np.concatenate([np.full([COUNT, 3, STEP_WIDTH], 50, np.float32), history], axis=1)
    padded_mask = np.concatenate([np.zeros([COUNT, 3], bool), mask], axis=1)
    expected = layer((candidates, history, mask))
    np.testing.assert_allclose(layer((candidates, padded, padded_mask)), expected, atol=1e-5)
    masked = np.where(mask[:, :, np.newaxis], history, -7).astype(np.float32)
    np.testing.assert_allclose(layer((candidates, masked, mask)), expected, atol=1e-5)


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("length", [0, LENGTH])
def test_an_empty_history_gives_zeros(length: int, softmax: bool) -> None:
    layer, (candidates, history, mask) = attention(softmax), inputs()
    pooled = layer((candidates, history[:, :length], mask[:, :length] & False))
    np.testing.assert_array_equal(pooled, np.zeros([COUNT, WIDTH]))


def test_a_batch_of_1_equals_its_row_in_a_batch() -> None:
    layer, batch = attention(), inputs()
    together = layer(batch)
    for row in range(COUNT):
        alone = layer(tuple(part[row : row + 1] for part in batch))
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_the_strength_of_an_interest_is_kept() -> None:
    layer, (candidates, history, mask) = attention(), inputs()
    twice = np.concatenate([history, history], axis=1), np.concatenate([mask, mask], axis=1)
    np.testing.assert_allclose(
        layer((candidates, *twice)), 2 * layer((candidates, history, mask)), atol=1e-5
    )


def test_every_trainable_weight_gets_a_gradient() -> None:
    layer = attention()
    weights = layer.trainable_weights
    # Projection, two hidden layers and the score with kernel and bias each, and two alphas.
    assert len(weights) == 4 * 2 + 2
    gradients = gradients_of(
        lambda: tf.reduce_sum(tf.square(layer(inputs(), training=True))), weights
    )
    for weight, gradient in zip(weights, gradients, strict=True):
        assert gradient is not None, weight.name
        assert np.abs(gradient).max() > 0, weight.name


@pytest.mark.parametrize("users", [1, None])
def test_graph_equals_eager(users: int | None) -> None:
    layer, batch = attention(), inputs(users or COUNT)
    specifications = (
        tf.TensorSpec([None, WIDTH]),
        tf.TensorSpec([users, None, STEP_WIDTH]),
        tf.TensorSpec([users, None], tf.bool),
    )
    in_graph = tf.function(layer, input_signature=[specifications])
    np.testing.assert_allclose(in_graph(batch), layer(batch), atol=1e-6)


def lists() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three candidates for each history; the last candidate of the first list is padding."""
    candidates, history, mask = inputs()
    candidates = np.stack([candidates, 2 * candidates, candidates[::-1]], axis=1)
    pairs = np.repeat(mask[:, np.newaxis], 3, axis=1)
    pairs[0, 2] = False
    return candidates, history, pairs


def test_lists_equal_candidates_with_a_history_each() -> None:
    layer, (candidates, history, pairs) = attention(), lists()
    aligned = (
        candidates.reshape([-1, WIDTH]),
        np.repeat(history, 3, axis=0),
        pairs.reshape([-1, LENGTH]),
    )
    pooled = layer(lists())
    np.testing.assert_allclose(pooled, tf.reshape(layer(aligned), [COUNT, 3, WIDTH]), atol=1e-5)
    np.testing.assert_array_equal(pooled[0, 2], np.zeros(WIDTH))
    trained, same = attention(), attention()
    np.testing.assert_allclose(
        trained(lists(), training=True),
        tf.reshape(same(aligned, training=True), [COUNT, 3, WIDTH]),
        atol=1e-5,
    )


def test_padding_candidates_are_in_no_statistics() -> None:
    layer, same, (candidates, history, pairs) = attention(), attention(), lists()
    other = candidates.copy()
    other[0, 2] = 50
    pooled = layer((other, history, pairs), training=True)
    np.testing.assert_allclose(pooled, same(lists(), training=True), atol=1e-5)
    for changed, expected in zip(layer.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_allclose(changed, expected, atol=1e-5)


def test_lists_in_a_graph_equal_eager() -> None:
    layer = attention()
    specifications = (
        tf.TensorSpec([None, None, WIDTH]),
        tf.TensorSpec([None, None, STEP_WIDTH]),
        tf.TensorSpec([None, None, None], tf.bool),
    )
    in_graph = tf.function(layer, input_signature=[specifications])
    np.testing.assert_allclose(in_graph(lists()), layer(lists()), atol=1e-6)
    candidates, history, pairs = lists()
    empty = in_graph((candidates, history[:, :0], pairs[:, :, :0]))
    np.testing.assert_array_equal(empty, np.zeros([COUNT, 3, WIDTH]))


def test_configuration_makes_the_same_layer_again() -> None:
    layer = TargetAttention((7, 5), softmax=True, dice_statistics="batch", name="interest")
    again = TargetAttention.from_config(layer.get_config())
    assert (again.hidden_units, again.name) == ((7, 5), "interest")
    assert (again.softmax, again.dice_statistics) == (True, "batch")
