from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.sparse

from preprocessing.links.eigenpairs import Eigenpairs, leading_eigenpairs


def clustered_matrix(clusters: int, size: int, links: int = 8) -> scipy.sparse.csr_matrix:
    """S of a random graph whose nodes link to their own cluster eight times out of nine."""
    generator = np.random.default_rng(0)
    rows = np.repeat(np.arange(clusters * size), links)
    own = rows // size * size + generator.integers(size, size=len(rows))
    far = generator.integers(clusters * size, size=len(rows))
    columns = np.where(generator.random(len(rows)) < 8 / 9, own, far)
    weights = scipy.sparse.csr_matrix(
        (np.ones(len(rows)), (rows, columns)), shape=(clusters * size,) * 2
    )
    weights = weights + weights.T
    scale = scipy.sparse.diags(1 / np.sqrt(np.asarray(weights.sum(axis=1)).ravel()))
    return (scale @ weights @ scale).astype(np.float32).tocsr()


def leading(
    matrix: scipy.sparse.csr_matrix, count: int, tolerance: float = 1e-5, products: int = 500
) -> Eigenpairs:
    nothing = np.zeros((matrix.shape[0], 0), np.float32)
    return leading_eigenpairs(matrix, count, nothing, tolerance, products)


@pytest.mark.parametrize("size", [40, 100])
def test_pairs_of_a_dense_decomposition(size: int) -> None:
    """Of 480 rows, decomposed whole, and of 1,200, filtered."""
    matrix = clustered_matrix(12, size)
    pairs = leading(matrix, 12)
    values, vectors = np.linalg.eigh(matrix.toarray().astype(np.float64))
    np.testing.assert_allclose(pairs.values, values[::-1][:12], atol=1e-5)
    expected = vectors[:, -12:] @ vectors[:, -12:].T
    np.testing.assert_allclose(pairs.vectors @ pairs.vectors.T, expected, atol=1e-4)
    np.testing.assert_allclose(pairs.vectors.T @ pairs.vectors, np.eye(12), atol=1e-5)
    image = matrix.astype(np.float64) @ pairs.vectors - pairs.vectors * pairs.values
    np.testing.assert_allclose(np.linalg.norm(image, axis=0), pairs.residuals, atol=2e-6)
    assert pairs.residuals.max() <= 1e-5


def test_known_vectors_come_first_and_are_not_found_again() -> None:
    block = clustered_matrix(6, 100)
    matrix = scipy.sparse.block_diag([block, block], format="csr")
    values, vectors = np.linalg.eigh(block.toarray().astype(np.float64))
    known = np.kron(np.eye(2), vectors[:, -1:]).astype(np.float32)
    pairs = leading_eigenpairs(matrix, 6, known, 1e-5, 500)
    np.testing.assert_allclose(pairs.values, np.repeat(values[:-4:-1], 2), atol=1e-5)
    np.testing.assert_allclose(np.abs(pairs.vectors[:, :2]), np.abs(known), atol=1e-6)
    np.testing.assert_allclose(known.T @ pairs.vectors[:, 2:], 0, atol=1e-5)


@pytest.mark.parametrize("size", [40, 100])
def test_highest_component_is_positive(size: int) -> None:
    vectors = leading(clustered_matrix(12, size), 12).vectors
    assert (vectors[np.abs(vectors).argmax(axis=0), np.arange(12)] > 0).sum() >= 11
    heights = np.abs(vectors)
    first = (heights >= 0.999 * heights.max(axis=0)).argmax(axis=0)
    assert (vectors[first, np.arange(12)] > 0).all()


@pytest.mark.parametrize("nodes", [1100, 1101])
def test_complete_graph_has_one_pair_above_the_others(nodes: int) -> None:
    """All others are -1 / (nodes - 1): the filter leaves nothing beside the first to go by."""
    matrix = np.full((nodes, nodes), 1 / (nodes - 1), np.float32)
    np.fill_diagonal(matrix, 0)
    pairs = leading(scipy.sparse.csr_matrix(matrix), 5, 1e-4)
    np.testing.assert_allclose(pairs.values, [1, *[-1 / (nodes - 1)] * 4], atol=1e-4)
    np.testing.assert_allclose(pairs.vectors.T @ pairs.vectors, np.eye(5), atol=1e-4)
    np.testing.assert_allclose(pairs.vectors[:, 0], nodes**-0.5, rtol=1e-3)


def test_what_is_not_finished_says_so() -> None:
    matrix = clustered_matrix(12, 100)
    pairs = leading(matrix, 40, tolerance=1e-6, products=10)
    image = matrix.astype(np.float64) @ pairs.vectors - pairs.vectors * pairs.values
    np.testing.assert_allclose(np.linalg.norm(image, axis=0), pairs.residuals, rtol=1e-3, atol=1e-6)
    assert pairs.residuals.max() > 1e-6
    assert 10 <= pairs.products < 60


@pytest.fixture
def one_core() -> Iterator[None]:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


def test_number_of_cores_decides_no_bit(request: pytest.FixtureRequest) -> None:
    matrix = clustered_matrix(4, 10_000, links=3)
    many = leading(matrix, 4, 1e-2)
    request.getfixturevalue("one_core")
    one = leading(matrix, 4, 1e-2)
    assert many.vectors.tobytes() == one.vectors.tobytes()
    assert many.values.tobytes() == one.values.tobytes()
