from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from models.reduction import (
    cluster_landmarks,
    cosine_kernel,
    nystroem_features,
    principal_components,
    unit_rows,
)


def correlated_vectors(rows: int = 40, width: int = 6) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.normal(size=[rows, width]) @ random.normal(size=[width, width]) + 3.0


def unit_vectors(rows: int, width: int = 5, seed: int = 1) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=[rows, width])
    return vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("whiten", [False, True])
def test_components_are_those_of_sklearn_up_to_sign(whiten: bool) -> None:
    vectors = correlated_vectors()
    ours = principal_components(vectors, 4, whiten=whiten)
    theirs = PCA(4, whiten=whiten, svd_solver="full").fit_transform(vectors)
    if whiten:
        # scikit-learn takes the variance over n - 1, we over n.
        theirs = theirs * np.sqrt(40 / 39)
    signs = np.sign((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(ours, theirs * signs, atol=1e-4)
    assert ours.dtype == np.float32


def test_whitened_components_have_unit_variance_and_no_correlation() -> None:
    reduced = principal_components(correlated_vectors(), 6, whiten=True)
    np.testing.assert_allclose(np.cov(reduced.T, bias=True), np.eye(6), atol=1e-4)
    np.testing.assert_allclose(reduced.mean(axis=0), 0, atol=1e-5)


def test_no_more_components_than_the_vectors_have() -> None:
    plane = correlated_vectors()[:, :2] @ np.ones([2, 6]) + np.arange(6)
    assert principal_components(plane, 4, whiten=True).shape == (40, 1)
    assert principal_components(correlated_vectors()[:3], 5, whiten=True).shape == (3, 2)
    assert np.isfinite(principal_components(np.full([5, 3], 0.1), 2, whiten=True)).all()


def test_signs_do_not_depend_on_the_order_of_the_rows() -> None:
    vectors = correlated_vectors()
    forwards = principal_components(vectors, 3, whiten=False)
    backwards = principal_components(vectors[::-1], 3, whiten=False)[::-1]
    np.testing.assert_allclose(forwards, backwards, atol=1e-4)


def test_unit_rows_leave_zeros_alone() -> None:
    scaled = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [-2.0, 0.0]]))
    np.testing.assert_allclose(scaled, np.array([[0.6, 0.8], [0, 0], [-1, 0]]), atol=1e-7)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(unit_rows(np.array([[0, 2]])), [[0, 1]])


def test_kernel_by_hand() -> None:
    left = np.array([[1.0, 0.0], [0.6, 0.8]])
    right = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])
    expected = 0.3 + np.exp(np.array([[-2, 0, -4], [-0.4, -0.8, -3.2]]))
    np.testing.assert_allclose(cosine_kernel(left, right, 0.5, 0.3), expected, rtol=1e-12)


def test_features_are_exact_when_every_vector_is_a_landmark() -> None:
    vectors = unit_vectors(12)
    features = nystroem_features(vectors, vectors, 0.5, 0.3)
    assert features.shape == (12, 13)
    np.testing.assert_allclose(
        features @ features.T, cosine_kernel(vectors, vectors, 0.5, 0.3), atol=1e-5
    )


def test_features_are_exact_against_landmarks() -> None:
    vectors, landmarks = unit_vectors(30), unit_vectors(8, seed=2)
    features = nystroem_features(vectors, landmarks, 0.5, 0.3)
    of_landmarks = nystroem_features(landmarks, landmarks, 0.5, 0.3)
    np.testing.assert_allclose(
        features @ of_landmarks.T, cosine_kernel(vectors, landmarks, 0.5, 0.3), atol=1e-5
    )
    assert np.abs(features @ features.T - cosine_kernel(vectors, vectors, 0.5, 0.3)).max() > 0.01


def test_equal_landmarks_stay_finite() -> None:
    landmarks = np.repeat(unit_vectors(1), 3, axis=0)
    assert np.isfinite(nystroem_features(unit_vectors(4), landmarks, 0.5, 0.3)).all()


def test_few_distinct_vectors_are_their_own_landmarks() -> None:
    vectors = unit_vectors(3)
    landmarks = cluster_landmarks(vectors[[0, 1, 1, 2, 0]], 4)
    np.testing.assert_allclose(landmarks, np.unique(vectors, axis=0))


def test_landmarks_are_unit_vectors_of_the_clusters_and_deterministic() -> None:
    centres = np.eye(4)[:3]
    noise = np.random.default_rng(3).normal(size=[3, 50, 4], scale=0.02)
    vectors = unit_rows((centres[:, np.newaxis] + noise).reshape(-1, 4))
    landmarks = cluster_landmarks(vectors, 3)
    np.testing.assert_allclose(np.linalg.norm(landmarks, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.sort(landmarks @ centres.T, axis=0)[-1], 1, atol=0.01)
    np.testing.assert_array_equal(landmarks, cluster_landmarks(vectors, 3))
