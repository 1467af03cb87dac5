from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from models.adapters.pq import cut, fit_codebook, nearest_codes


@pytest.mark.parametrize(
    ("dimension", "parts", "widths"), [(6, 3, [2, 2, 2]), (7, 3, [3, 2, 2]), (3, 3, [1, 1, 1])]
)
def test_parts_differ_by_one_component_at_most(
    dimension: int, parts: int, widths: list[int]
) -> None:
    vectors = np.arange(2 * dimension).reshape(2, dimension)
    pieces = cut(vectors, parts)
    assert [piece.shape[1] for piece in pieces] == widths
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), vectors)


def test_clear_clusters_are_found() -> None:
    centres = np.array([[0.0, 0], [10, 0], [0, 10]])
    random = np.random.default_rng(0)
    members = np.repeat(centres, 20, axis=0) + random.normal(scale=0.1, size=[60, 2])
    codebook = fit_codebook(members, 3, seed=0)
    expected = [members[20 * i : 20 * i + 20].mean(axis=0) for i in range(3)]
    np.testing.assert_allclose(
        sorted(codebook.tolist()), sorted(np.array(expected).tolist()), atol=1e-5
    )


def test_few_distinct_vectors_are_their_own_codes() -> None:
    vectors = np.array([[2.0, 1], [1, 1], [2, 1], [1, 1]])
    np.testing.assert_array_equal(fit_codebook(vectors, 5, seed=0), [[1, 1], [2, 1]])
    np.testing.assert_array_equal(fit_codebook(vectors, 2, seed=0), [[1, 1], [2, 1]])


def test_threads_change_nothing() -> None:
    vectors = np.random.default_rng(0).normal(size=[3000, 8]).astype(np.float32)
    with threadpool_limits(limits=1):
        one = fit_codebook(vectors, 16, seed=3)
    np.testing.assert_array_equal(fit_codebook(vectors, 16, seed=3), one)
    assert np.abs(fit_codebook(vectors, 16, seed=4) - one).max() > 0.1


def test_codes_are_the_nearest_centres() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=[40, 5])
    codebooks = [random.normal(size=[4, 3]), random.normal(size=[6, 2])]
    codes = nearest_codes(vectors, codebooks)
    assert codes.dtype == np.int32
    for vector, (first, second) in zip(vectors, codes, strict=True):
        assert first == np.argmin([np.linalg.norm(vector[:3] - c) for c in codebooks[0]])
        assert second == np.argmin([np.linalg.norm(vector[3:] - c) for c in codebooks[1]])
