from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sparse

from preprocessing.grouping.features import embed, scale_columns, to_unit_length, weigh_columns


def test_columns_weigh_by_inverse_document_frequency():
    present = sparse.csr_matrix(
        np.array([[1, 1, 0, 1], [0, 1, 0, 1], [1, 1, 1, 0]], dtype=np.float32)
    )
    # one row has column 2, all have column 1
    expected = np.log(4 / 3) * np.array([[1, 0, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]])
    weighted = weigh_columns(present)
    np.testing.assert_allclose(weighted.toarray(), expected, rtol=1e-6)
    assert weighted.nnz == 4 and present.nnz == 8 and weighted.dtype == np.float32


def test_scaling_leaves_the_original_alone():
    matrix = sparse.csr_matrix(np.array([[1, 2], [3, 0]], dtype=np.float32))
    scaled = scale_columns(matrix, np.array([2.0, 0.0]))
    assert scaled.toarray().tolist() == [[2, 0], [6, 0]] and scaled.nnz == 2
    assert matrix.toarray().tolist() == [[1, 2], [3, 0]]


def test_rows_are_projected_on_the_leading_right_singular_vectors():
    random = np.random.default_rng(0)
    matrix = random.normal(size=[60, 4]) @ random.normal(size=[4, 40])
    matrix += 1e-3 * random.normal(size=matrix.shape)
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    directions = np.linalg.svd(unit, full_matrices=False)[2][:4]
    expected = unit @ directions.T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    embedded = embed(sparse.csr_matrix(matrix.astype(np.float32)), 4, seed=0)
    assert embedded.dtype == np.float32 and embedded.shape == (60, 4)
    np.testing.assert_allclose(embedded @ embedded.T, expected @ expected.T, atol=1e-3)


def test_few_columns_are_kept_as_they_are_and_empty_ones_dropped():
    matrix = sparse.csr_matrix(([3, 4, 5], ([0, 0, 2], [7, 900, 900])), (4, 1000), dtype=np.float32)
    assert embed(matrix, 2, seed=0).tolist() == [
        pytest.approx([0.6, 0.8]), [0, 0], [0, 1], [0, 0],
    ]  # fmt: skip
    assert embed(sparse.csr_matrix((3, 5), dtype=np.float32), 2, seed=0).shape == (3, 0)


def test_a_row_that_the_leading_vectors_miss_is_no_feature():
    # the last row is alone in its column and the width too small for it
    blocks = sparse.block_diag([np.ones([9, 3]), np.ones([8, 3]), [[1.0]]])
    embedded = embed(sparse.csr_matrix(blocks, dtype=np.float32), 2, seed=1)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), [1] * 17 + [0], atol=1e-6)


@pytest.mark.parametrize("seed", [-1, 2**40])
def test_every_seed_is_allowed(seed):
    matrix = sparse.random(30, 20, 0.3, random_state=0, dtype=np.float32, format="csr")
    assert np.isfinite(embed(matrix, 3, seed)).all()


def test_unit_length_in_place():
    vectors = np.array([[3, 4], [1e-5, 0], [0, 0]], dtype=np.float32)
    assert to_unit_length(vectors) is vectors
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, 0], [0, 0]], rtol=1e-6)
