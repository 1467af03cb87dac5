from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.match.layer import means_features

SCALES = tf.constant([0.1, 0.25])


def test_features_by_hand() -> None:
    candidates = np.array([[[1, 0], [0.6, 0.8]]], np.float32)
    history = np.array([[[1, 0], [0, 1], [0, 0]]], np.float32)
    residuals = np.array([[1.0, -1.0, 0.0]], np.float32)
    liked = np.array([[1.0, 0.0, 1.0]], np.float32)
    mask = np.array([[1.0, 1.0, 0.0]], np.float32)
    features = means_features(candidates, history, residuals, liked, mask, SCALES)
    # With cosines x and y to the two items the mean is tanh((x - y) / 2 l).
    first = [np.tanh(5), np.tanh(2), 1, 0, 1, 0]
    second = [np.tanh(-1), np.tanh(-0.4), 0.6, 0.8, 0.6, 0.8]
    np.testing.assert_allclose(features, [[first, second]], atol=1e-6)


def test_far_histories_keep_their_weights() -> None:
    candidates = np.array([[[1.0]]], np.float32)
    history = np.array([[[-1.0], [-1.0]]], np.float32)
    residuals, ones = np.array([[1.0, 2.0]], np.float32), np.ones([1, 2], np.float32)
    features = means_features(candidates, history, residuals, ones, ones, tf.constant([1e-3, 1e-2]))
    np.testing.assert_allclose(features[0, 0], [1.5, 1.5, -1, 0, -1, 0], atol=1e-6)


def test_opposite_vectors_have_no_direction() -> None:
    candidates = np.array([[[1, 0], [0, 1]]], np.float32)
    history = np.array([[[1, 0], [-1, 0]]], np.float32)
    ones = np.ones([1, 2], np.float32)
    features = means_features(candidates, history, ones, ones, ones, SCALES)
    np.testing.assert_allclose(features[0, :, 2:], [[0, 0, 1, 0], [0, 0, 0, 0]], atol=1e-6)
