from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax
from sklearn.metrics import log_loss

from models.losses import (
    EQUAL_WEIGHTS,
    LIST_LOSSES,
    LOSS_COUNTS,
    alignment_loss,
    label_weights,
    list_probabilities,
    listwise_loss,
    pointwise_loss,
)
from tests.models.builders import gradients_of, sigmoid

LOGITS = np.array([[2.0, -1.0, 0.5], [0.3, 7.0, -2.0], [1.0, 1.0, 9.0]], np.float32)
LABELS = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]], np.float32)
MASK = np.array([[True, True, True], [True, False, True], [True, True, False]])


@pytest.mark.parametrize("name", LIST_LOSSES)
class TestBothLosses:
    def test_padding_counts_in_neither_value_nor_gradient(self, name: str) -> None:
        other = np.where(MASK, LOGITS, 1e30).astype(np.float32)
        labels = np.where(MASK, LABELS, 1.0)
        logits = tf.Variable(other)
        (gradient,) = gradients_of(lambda: LIST_LOSSES[name](logits, labels, MASK), [logits])
        np.testing.assert_allclose(
            LIST_LOSSES[name](other, labels, MASK),
            LIST_LOSSES[name](LOGITS, LABELS, MASK),
            rtol=1e-6,
        )
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[~MASK], np.zeros(2))
        assert np.abs(gradient[MASK]).max() > 0.01

    @pytest.mark.parametrize("mask", [MASK, np.zeros_like(MASK)], ids=["real", "padding"])
    def test_without_positives_the_loss_is_finite(self, name: str, mask: np.ndarray) -> None:
        logits = tf.Variable(LOGITS)
        (gradient,) = gradients_of(
            lambda: LIST_LOSSES[name](logits, tf.zeros_like(logits), mask), [logits]
        )
        loss = LIST_LOSSES[name](logits, tf.zeros_like(logits), mask)
        assert np.isfinite(loss)
        assert np.isfinite(gradient).all()
        if name == "listwise" or not mask.any():
            assert float(loss) == 0

    def test_half_precision_logits(self, name: str) -> None:
        half = tf.cast(LOGITS, tf.bfloat16)
        loss = LIST_LOSSES[name](half, LABELS, MASK)
        assert loss.dtype == tf.float32
        np.testing.assert_allclose(loss, LIST_LOSSES[name](LOGITS, LABELS, MASK), rtol=0.02)


class TestListLosses:
    def test_pointwise_is_the_cross_entropy_of_real_candidates(self) -> None:
        expected = log_loss(LABELS[MASK], sigmoid(LOGITS[MASK].astype(np.float64)))
        np.testing.assert_allclose(pointwise_loss(LOGITS, LABELS, MASK), expected, rtol=1e-6)

    def test_class_weights_multiply_losses_and_the_mean_is_over_candidates(self) -> None:
        labels, logits = LABELS[MASK], LOGITS[MASK].astype(np.float64)
        losses = np.where(
            labels > 0, 3.0 * np.log1p(np.exp(-logits)), 0.5 * np.log1p(np.exp(logits))
        )
        np.testing.assert_allclose(
            pointwise_loss(LOGITS, LABELS, MASK, (0.5, 3.0)), losses.mean(), rtol=1e-6
        )
        np.testing.assert_array_equal(
            pointwise_loss(LOGITS, LABELS, MASK, (1.0, 1.0)), pointwise_loss(LOGITS, LABELS, MASK)
        )

    @pytest.mark.parametrize(("name", "count"), [("pointwise", 7), ("listwise", 2)])
    def test_what_the_losses_are_means_over_is_counted(self, name: str, count: int) -> None:
        np.testing.assert_array_equal(LOSS_COUNTS[name](LABELS, MASK), count)
        np.testing.assert_array_equal(LOSS_COUNTS[name](LABELS, np.zeros_like(MASK)), 0)

    def test_listwise_is_the_cross_entropy_of_lists_with_a_positive(self) -> None:
        # The positive of the third list is padding, so that list is left out.
        first = -(log_softmax(LOGITS[0])[0] + log_softmax(LOGITS[0])[2]) / 2
        second = -log_softmax(LOGITS[1, [0, 2]])[1]
        expected = (first + second) / 2
        np.testing.assert_allclose(listwise_loss(LOGITS, LABELS, MASK), expected, rtol=1e-6)

    def test_only_differences_count_listwise(self) -> None:
        np.testing.assert_allclose(
            listwise_loss(LOGITS + 3, LABELS, MASK), listwise_loss(LOGITS, LABELS, MASK), rtol=1e-5
        )

    def test_probabilities_of_a_list(self) -> None:
        shares = list_probabilities(LOGITS, MASK).numpy()
        np.testing.assert_allclose(shares.sum(axis=1), np.ones(3), rtol=1e-6)
        np.testing.assert_array_equal(shares[~MASK], np.zeros(2))
        np.testing.assert_allclose(
            shares[1, 0], np.exp(0.3) / (np.exp(0.3) + np.exp(-2)), rtol=1e-5
        )
        np.testing.assert_array_equal(
            list_probabilities(LOGITS, np.zeros_like(MASK)), np.zeros([3, 3])
        )


class TestLabelWeights:
    @pytest.mark.parametrize("dtype", [tf.float32, tf.int64, tf.bool])
    def test_every_sample_has_the_weight_of_its_label(self, dtype: tf.DType) -> None:
        labels = tf.cast([[0, 1], [1, 0]], dtype)
        weights = label_weights(labels, (0.25, 4.0))
        assert weights is not None and weights.dtype == tf.float32
        np.testing.assert_array_equal(weights, [[0.25, 4.0], [4.0, 0.25]])

    def test_equal_weights_are_none(self) -> None:
        assert label_weights(tf.constant([0.0, 1.0]), EQUAL_WEIGHTS) is None
        assert label_weights(tf.constant([0.0, 1.0]), [1, 1]) is None

    def test_both_weights_alike_still_count(self) -> None:
        np.testing.assert_array_equal(
            label_weights(tf.constant([0.0, 1.0]), (2.0, 2.0)), [2.0, 2.0]
        )


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


class TestAlignmentLoss:
    @pytest.mark.parametrize("temperature", [0.1, 1.0])
    @pytest.mark.parametrize("valid", [VALID, np.ones(5, bool), np.array([0, 1, 0, 1, 0], bool)])
    def test_loss_follows_the_formula(self, temperature: float, valid: np.ndarray) -> None:
        augmented, ids = sample(0), sample(1)
        both = [
            by_hand(augmented, ids, ROWS, valid, temperature),
            by_hand(ids, augmented, ROWS, valid, temperature),
        ]
        loss = alignment_loss(
            tf.constant(augmented),
            tf.constant(ids),
            tf.constant(ROWS),
            tf.constant(valid),
            temperature,
        )
        assert loss.dtype == tf.float32
        assert loss.shape == ()
        np.testing.assert_allclose(loss, np.mean(both), rtol=1e-4)

    def test_the_temperature_is_a_tenth(self) -> None:
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
    def test_without_negatives_there_is_no_loss(self, rows: list[int], valid: list[bool]) -> None:
        augmented = tf.Variable(sample(0, len(rows)))
        ids = tf.Variable(sample(1, len(rows)))
        with tf.GradientTape() as tape:
            loss = alignment_loss(
                augmented, ids, tf.constant(rows, tf.int32), tf.constant(valid, tf.bool)
            )
        np.testing.assert_allclose(loss, 0, atol=1e-6)
        for gradient in tape.gradient(loss, [augmented, ids]):
            np.testing.assert_allclose(gradient, np.zeros([len(rows), WIDTH]), atol=1e-6)

    def test_invalid_rows_get_no_gradient_and_zero_vectors_a_finite_one(self) -> None:
        augmented, ids = tf.Variable(sample(0)), tf.Variable(sample(1))
        ids.assign(tf.tensor_scatter_nd_update(ids, [[1]], tf.zeros([1, WIDTH])))
        with tf.GradientTape() as tape:
            loss = alignment_loss(augmented, ids, tf.constant(ROWS), tf.constant(VALID))
        for gradient in tape.gradient(loss, [augmented, ids]):
            gradient = gradient.numpy()
            assert np.abs(gradient).max() < 1e5
            np.testing.assert_array_equal(gradient[4], np.zeros(WIDTH))
            assert (np.abs(gradient[[0, 2, 3]]).max(axis=1) > 1e-6).all()

    def test_aligned_vectors_have_a_small_loss_and_equal_ones_the_chance(self) -> None:
        rows, valid = tf.range(WIDTH), tf.fill([WIDTH], True)
        directions = tf.eye(WIDTH)
        aligned = alignment_loss(directions, 3 * directions, rows, valid)
        np.testing.assert_allclose(aligned, np.log(1 + 3 * np.exp(-10)), atol=1e-6)
        same = tf.ones([WIDTH, WIDTH])
        np.testing.assert_allclose(
            alignment_loss(same, same, rows, valid), np.log(WIDTH), rtol=1e-5
        )

    def test_low_precision_inputs_give_a_full_precision_loss(self) -> None:
        augmented, ids = sample(0), sample(1)
        exact = alignment_loss(*map(tf.constant, (augmented, ids, ROWS, VALID)))
        low = alignment_loss(
            tf.cast(augmented, tf.bfloat16), tf.cast(ids, tf.bfloat16), ROWS, tf.constant(VALID)
        )
        assert low.dtype == tf.float32
        np.testing.assert_allclose(low, exact, rtol=0.05)
