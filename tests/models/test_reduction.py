from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from models.reduction import (
    by_blocks,
    cluster_landmarks,
    cosine_kernel,
    known_rows,
    mean_vector,
    nystroem_features,
    principal_directions,
    unit_rows,
)


def correlated_vectors(rows: int = 40, width: int = 6) -> np.ndarray:
    random = np.random.default_rng(0)
    vectors = random.normal(size=[rows, width]) @ random.normal(size=[width, width])
    return vectors - vectors.mean(axis=0)


def unit_vectors(rows: int, width: int = 5, seed: int = 1) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=[rows, width])
    return vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True))


def features_of(vectors: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    return nystroem_features(vectors @ landmarks.T, landmarks @ landmarks.T, 0.5, 0.3)


def kernel_of(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return 0.3 + np.exp((left @ right.T - 1) / 0.5)


def test_rows_of_zeros_are_missing_and_not_in_the_mean() -> None:
    vectors = np.array([[1, 0], [0, 0], [3, -2]])
    assert known_rows(vectors).tolist() == [True, False, True]
    np.testing.assert_array_equal(mean_vector(vectors), [2, -1])
    np.testing.assert_array_equal(mean_vector(np.zeros([4, 2])), [0, 0])
    np.testing.assert_array_equal(mean_vector(np.zeros([0, 2])), [0, 0])


@pytest.mark.parametrize("whiten", [False, True])
def test_components_are_those_of_sklearn_up_to_sign(whiten: bool) -> None:
    vectors = correlated_vectors()
    directions = principal_directions(vectors, 4, whiten=whiten)
    ours = vectors @ directions
    theirs = PCA(4, whiten=whiten, svd_solver="full").fit_transform(vectors)
    if whiten:
        # scikit-learn takes the variance over n - 1, we over n.
        theirs = theirs * np.sqrt(40 / 39)
    signs = np.sign((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(ours, theirs * signs, atol=1e-4)
    assert directions.dtype == np.float32


def test_whitened_components_have_unit_variance_and_no_correlation() -> None:
    vectors = correlated_vectors()
    reduced = vectors @ principal_directions(vectors, 6, whiten=True)
    np.testing.assert_allclose(np.cov(reduced.T, bias=True), np.eye(6), atol=1e-4)


def test_no_more_directions_than_the_vectors_have() -> None:
    plane = correlated_vectors()[:, :1] @ np.ones([1, 6])
    assert principal_directions(plane, 4, whiten=True).shape == (6, 1)
    three = correlated_vectors()[:3]
    assert principal_directions(three - three.mean(axis=0), 5, whiten=True).shape == (6, 2)
    assert principal_directions(np.zeros([5, 3]), 2, whiten=True).shape == (3, 0)
    assert principal_directions(np.zeros([0, 3]), 2, whiten=True).shape == (3, 0)


def test_signs_do_not_depend_on_the_order_of_the_rows() -> None:
    vectors = correlated_vectors()
    forwards = principal_directions(vectors, 3, whiten=False)
    np.testing.assert_allclose(
        forwards, principal_directions(vectors[::-1], 3, whiten=False), atol=1e-4
    )


def test_unit_rows_leave_zeros_alone() -> None:
    scaled = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [-2.0, 0.0]]))
    np.testing.assert_allclose(scaled, np.array([[0.6, 0.8], [0, 0], [-1, 0]]), atol=1e-7)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(unit_rows(np.array([[0, 2]])), [[0, 1]])


def test_kernel_by_hand() -> None:
    cosines = np.array([[0, 1, -1], [0.8, 0.6, -0.6]])
    expected = 0.3 + np.exp(np.array([[-2, 0, -4], [-0.4, -0.8, -3.2]]))
    np.testing.assert_allclose(cosine_kernel(cosines, 0.5, 0.3), expected, rtol=1e-12)


def test_features_are_exact_when_every_vector_is_a_landmark() -> None:
    vectors = unit_vectors(12)
    features = features_of(vectors, vectors)
    assert features.shape == (12, 13)
    np.testing.assert_allclose(features @ features.T, kernel_of(vectors, vectors), atol=1e-5)


def test_features_are_exact_against_landmarks() -> None:
    vectors, landmarks = unit_vectors(30), unit_vectors(8, seed=2)
    features, landmark_features = features_of(vectors, landmarks), features_of(landmarks, landmarks)
    np.testing.assert_allclose(
        features @ landmark_features.T, kernel_of(vectors, landmarks), atol=1e-5
    )
    assert np.abs(features @ features.T - kernel_of(vectors, vectors)).max() > 0.01


def test_equal_landmarks_stay_finite() -> None:
    landmarks = np.repeat(unit_vectors(1), 3, axis=0)
    assert np.isfinite(features_of(unit_vectors(4), landmarks)).all()


def test_without_landmarks_only_the_constant_is_left() -> None:
    features = nystroem_features(np.zeros([3, 0]), np.zeros([0, 0]), 0.5, 0.3)
    np.testing.assert_allclose(features, np.full([3, 1], np.sqrt(0.3)), rtol=1e-6)


def test_few_distinct_vectors_are_their_own_landmarks() -> None:
    vectors = unit_vectors(3)
    centre = np.array([0.1, 0, 0.2, 0, 0])
    given = np.concatenate([3 * vectors[[0, 1, 1, 2, 0]] + centre, np.zeros([2, 5])])
    landmarks = cluster_landmarks(given, centre, 4)
    np.testing.assert_allclose(landmarks, np.unique(vectors, axis=0), atol=1e-6)


@pytest.mark.parametrize("rows", [50, 12_000])
def test_landmarks_are_of_length_1_and_reproducible(rows: int) -> None:
    vectors = unit_vectors(rows, width=3)
    landmarks = cluster_landmarks(vectors, np.zeros(3), 7)
    assert landmarks.shape == (7, 3)
    np.testing.assert_allclose(np.linalg.norm(landmarks, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(landmarks, cluster_landmarks(vectors, np.zeros(3), 7))
    # Centres of clusters are nearer to the vectors than as many vectors taken at random.
    nearest, taken = (vectors @ some.T for some in (landmarks, vectors[:7]))
    assert nearest.max(axis=1).mean() > taken.max(axis=1).mean()


def test_blocks_of_rows_give_what_all_rows_give(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = correlated_vectors(rows=11)
    vectors[[0, 4, 5, 10]] = 0
    expected = known_rows(vectors), principal_directions(vectors, 3, whiten=True)
    monkeypatch.setattr("models.reduction._BLOCK_ROWS", 4)
    sizes: list[int] = []

    def doubled(block: np.ndarray) -> np.ndarray:
        sizes.append(len(block))
        return 2 * block

    np.testing.assert_array_equal(by_blocks(doubled, vectors), 2 * vectors)
    assert sizes == [4, 4, 3]
    np.testing.assert_array_equal(known_rows(vectors), expected[0])
    np.testing.assert_allclose(principal_directions(vectors, 3, whiten=True), expected[1])
    assert by_blocks(doubled, vectors[:0]).shape == (0, 6)
