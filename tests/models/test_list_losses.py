from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax
from sklearn.metrics import log_loss

from models.losses import (
    LIST_LOSSES,
    LOSS_COUNTS,
    list_probabilities,
    listwise_loss,
    pointwise_loss,
)
from tests.models.builders import gradients_of, sigmoid

LOGITS = np.array([[2.0, -1.0, 0.5], [0.3, 7.0, -2.0], [1.0, 1.0, 9.0]], np.float32)
LABELS = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]], np.float32)
MASK = np.array([[True, True, True], [True, False, True], [True, True, False]])


def test_pointwise_is_the_cross_entropy_of_real_candidates() -> None:
    expected = log_loss(LABELS[MASK], sigmoid(LOGITS[MASK].astype(np.float64)))
    np.testing.assert_allclose(pointwise_loss(LOGITS, LABELS, MASK), expected, rtol=1e-6)


def test_class_weights_multiply_losses_and_the_mean_is_over_candidates() -> None:
    labels, logits = LABELS[MASK], LOGITS[MASK].astype(np.float64)
    losses = np.where(labels > 0, 3.0 * np.log1p(np.exp(-logits)), 0.5 * np.log1p(np.exp(logits)))
    np.testing.assert_allclose(
        pointwise_loss(LOGITS, LABELS, MASK, (0.5, 3.0)), losses.mean(), rtol=1e-6
    )
    np.testing.assert_array_equal(
        pointwise_loss(LOGITS, LABELS, MASK, (1.0, 1.0)), pointwise_loss(LOGITS, LABELS, MASK)
    )


@pytest.mark.parametrize(("name", "count"), [("pointwise", 7), ("listwise", 2)])
def test_what_the_losses_are_means_over_is_counted(name: str, count: int) -> None:
    np.testing.assert_array_equal(LOSS_COUNTS[name](LABELS, MASK), count)
    np.testing.assert_array_equal(LOSS_COUNTS[name](LABELS, np.zeros_like(MASK)), 0)


def test_listwise_is_the_cross_entropy_of_lists_with_a_positive() -> None:
    # The positive of the third list is padding, so that list is left out.
    first = -(log_softmax(LOGITS[0])[0] + log_softmax(LOGITS[0])[2]) / 2
    second = -log_softmax(LOGITS[1, [0, 2]])[1]
    expected = (first + second) / 2
    np.testing.assert_allclose(listwise_loss(LOGITS, LABELS, MASK), expected, rtol=1e-6)


def test_listwise_by_hand() -> None:
    # Two real candidates with equal logits: each has half of the list.
    loss = listwise_loss(tf.constant([[5.0, 5.0]]), tf.constant([[1.0, 0.0]]), [[True, True]])
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-6)


def test_only_differences_count_listwise() -> None:
    np.testing.assert_allclose(
        listwise_loss(LOGITS + 3, LABELS, MASK), listwise_loss(LOGITS, LABELS, MASK), rtol=1e-5
    )


def test_probabilities_of_a_list() -> None:
    shares = list_probabilities(LOGITS, MASK).numpy()
    np.testing.assert_allclose(shares.sum(axis=1), np.ones(3), rtol=1e-6)
    np.testing.assert_array_equal(shares[~MASK], np.zeros(2))
    np.testing.assert_allclose(shares[1, 0], np.exp(0.3) / (np.exp(0.3) + np.exp(-2)), rtol=1e-5)
    np.testing.assert_array_equal(list_probabilities(LOGITS, np.zeros_like(MASK)), np.zeros([3, 3]))


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
