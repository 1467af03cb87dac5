from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.losses import alignment_loss

WIDTH = 4
ROWS = np.array([3, 5, 3, 7, 9])
VALID = np.array([True, True, True, True, False])


def sample(seed: int, count: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=[count, WIDTH]).astype(np.float32)


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    return left @ right / np.linalg.norm(left) / np.linalg.norm(right)


def by_hand(
    augmented: np.ndarray, ids: np.ndarray, rows: np.ndarray, valid: np.ndarray, temperature: float
) -> float:
    """One direction, row by row and candidate by candidate."""
    losses = []
    for i in np.flatnonzero(valid):
        others = [j for j in np.flatnonzero(valid) if rows[j] != rows[i]]
        own = np.exp(cosine(augmented[i], ids[i]) / temperature)
        rest = sum(np.exp(cosine(augmented[i], ids[j]) / temperature) for j in others)
        losses.append(-np.log(own / (own + rest)))
    return float(np.mean(losses))


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("valid", [VALID, np.ones(5, bool), np.array([0, 1, 0, 1, 0], bool)])
def test_loss_follows_the_formula(temperature: float, valid: np.ndarray) -> None:
    augmented, ids = sample(0), sample(1)
    both = [
        by_hand(augmented, ids, ROWS, valid, temperature),
        by_hand(ids, augmented, ROWS, valid, temperature),
    ]
    loss = alignment_loss(
        tf.constant(augmented), tf.constant(ids), tf.constant(ROWS), tf.constant(valid), temperature
    )
    assert loss.dtype == tf.float32
    assert loss.shape == ()
    np.testing.assert_allclose(loss, np.mean(both), rtol=1e-4)


def test_the_temperature_is_a_tenth() -> None:
    augmented, ids, rows, valid = map(tf.constant, (sample(0), sample(1), ROWS, VALID))
    default = alignment_loss(augmented, ids, rows, valid)
    given = alignment_loss(augmented, ids, rows, valid, temperature=0.1)
    np.testing.assert_array_equal(default, given)


@pytest.mark.parametrize(
    ("rows", "valid"),
    [
        ([], []),
        ([1], [True]),
        ([1, 2], [True, False]),
        ([1, 2], [False, False]),
        ([4, 4], [True, True]),
    ],
)
def test_without_negatives_there_is_no_loss(rows: list[int], valid: list[bool]) -> None:
    augmented = tf.Variable(sample(0, len(rows)))
    ids = tf.Variable(sample(1, len(rows)))
    with tf.GradientTape() as tape:
        loss = alignment_loss(
            augmented, ids, tf.constant(rows, tf.int32), tf.constant(valid, tf.bool)
        )
    np.testing.assert_allclose(loss, 0, atol=1e-6)
    for gradient in tape.gradient(loss, [augmented, ids]):
        np.testing.assert_allclose(gradient, np.zeros([len(rows), WIDTH]), atol=1e-6)


def test_invalid_rows_get_no_gradient_and_zero_vectors_a_finite_one() -> None:
    augmented, ids = tf.Variable(sample(0)), tf.Variable(sample(1))
    ids.assign(tf.tensor_scatter_nd_update(ids, [[1]], tf.zeros([1, WIDTH])))
    with tf.GradientTape() as tape:
        loss = alignment_loss(augmented, ids, tf.constant(ROWS), tf.constant(VALID))
    for gradient in tape.gradient(loss, [augmented, ids]):
        gradient = gradient.numpy()
        assert np.abs(gradient).max() < 1e5
        np.testing.assert_array_equal(gradient[4], np.zeros(WIDTH))
        assert (np.abs(gradient[[0, 2, 3]]).max(axis=1) > 1e-6).all()


def test_aligned_vectors_have_a_small_loss_and_equal_ones_the_chance() -> None:
    rows, valid = tf.range(WIDTH), tf.fill([WIDTH], True)
    directions = tf.eye(WIDTH)
    aligned = alignment_loss(directions, 3 * directions, rows, valid)
    np.testing.assert_allclose(aligned, np.log(1 + 3 * np.exp(-10)), atol=1e-6)
    same = tf.ones([WIDTH, WIDTH])
    np.testing.assert_allclose(alignment_loss(same, same, rows, valid), np.log(WIDTH), rtol=1e-5)


def test_low_precision_inputs_give_a_full_precision_loss() -> None:
    augmented, ids = sample(0), sample(1)
    exact = alignment_loss(*map(tf.constant, (augmented, ids, ROWS, VALID)))
    low = alignment_loss(
        tf.cast(augmented, tf.bfloat16), tf.cast(ids, tf.bfloat16), ROWS, tf.constant(VALID)
    )
    assert low.dtype == tf.float32
    np.testing.assert_allclose(low, exact, rtol=0.05)
