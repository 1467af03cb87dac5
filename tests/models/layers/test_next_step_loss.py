from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.layers.sequence import next_step_loss
from tests.models.builders import sigmoid

LENGTH, WIDTH = 4, 3
MASK = np.array([[0, 1, 1, 1], [1, 1, 0, 1], [0, 0, 0, 1]], bool)
NEGATIVES = np.array([[5, 4, 8, 11], [0, 1, 6, 2], [3, 7, 9, 10]])


def sample(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=[3, LENGTH, WIDTH]).astype(np.float32)


def test_loss_follows_the_formula() -> None:
    states, items = sample(0), sample(1)
    right, wrong = [], []
    for row in range(3):
        for step in range(LENGTH - 1):
            if not (MASK[row, step] and MASK[row, step + 1]):
                continue
            right.append(np.log(sigmoid(states[row, step] @ items[row, step + 1])))
            other_row, other_step = divmod(NEGATIVES[row, step + 1], LENGTH)
            if MASK[other_row, other_step]:
                product = states[row, step] @ items[other_row, other_step]
                wrong.append(np.log(1 - sigmoid(product)))
    assert (len(right), len(wrong)) == (3, 2)
    loss = next_step_loss(*map(tf.constant, (states, items, MASK, NEGATIVES)))
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, -np.mean(right) - np.mean(wrong), rtol=1e-5)


def test_single_steps_have_nothing_to_predict() -> None:
    alone = np.eye(3, LENGTH, dtype=bool)
    loss = next_step_loss(*map(tf.constant, (sample(0), sample(1), alone, NEGATIVES)))
    np.testing.assert_array_equal(loss, 0)


def test_an_empty_history_has_no_loss() -> None:
    states = tf.zeros([2, 0, WIDTH])
    loss = next_step_loss(states, states, tf.zeros([2, 0], tf.bool), tf.zeros([2, 0], tf.int32))
    np.testing.assert_array_equal(loss, 0)


def test_states_that_foresee_the_next_item_have_a_small_loss() -> None:
    items = 9 * np.eye(4, dtype=np.float32)[np.newaxis]
    foreseeing = np.roll(items, -1, axis=1) - np.roll(items, -2, axis=1)
    negatives = np.array([[1, 2, 3, 0]])
    everything = np.ones([1, 4], bool)
    loss = next_step_loss(*map(tf.constant, (foreseeing, items, everything, negatives)))
    blind = next_step_loss(*map(tf.constant, (0 * items, items, everything, negatives)))
    assert loss < 0.01
    np.testing.assert_allclose(blind, 2 * np.log(2), rtol=1e-5)
