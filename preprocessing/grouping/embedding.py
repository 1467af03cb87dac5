"""Sparse weights to short dense vectors: inverse document frequency and truncated SVD."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd

_NOTHING = 1e-4
"""A unit row of which the leading singular vectors capture less than this is noise."""

_POWER_ITERATIONS = 4
_LARGEST_SEED = 1 << 32


def weigh_columns(present: sparse.csr_matrix) -> sparse.csr_matrix:
    """Multiplies each column by its inverse document frequency, log((1 + rows) / (1 + its rows)).

    A column that only one row has makes nothing alike, and neither does one that all have: both
    are dropped.

    Args:
      present: [rows, columns] float32, without explicit zeros.
    """
    rows = present.shape[0]
    frequency = np.bincount(present.indices, minlength=present.shape[1])
    weight = np.where(frequency > 1, np.log((1 + rows) / (1 + frequency)), 0)
    return scale_columns(present, weight)


def scale_columns(matrix: sparse.csr_matrix, weight: np.ndarray) -> sparse.csr_matrix:
    """[rows, columns] float32 with each column multiplied by its weight; zeros are not stored."""
    scaled = matrix.copy()
    scaled.data *= weight.astype(np.float32)[scaled.indices]
    scaled.eliminate_zeros()
    return scaled


def embed(weights: sparse.csr_matrix, dimension: int, seed: int) -> np.ndarray:
    """Projects rows on the leading right singular vectors, so that cosines stay nearly the same.

    Args:
      weights: [rows, columns] float32; the length of a row does not matter.
      dimension: most columns of the result; where there are no more columns anyway, they are kept.
      seed: seed of the randomized SVD (Halko, Martinsson and Tropp 2011, algorithm 4.4).

    Returns:
      [rows, width] float32 of length 1, or 0 for a row without weights or of which the leading
      vectors capture nothing.
    """
    if not weights.nnz:
        return np.zeros([weights.shape[0], 0], dtype=np.float32)
    unit_rows = normalize(_without_empty_columns(weights))
    if unit_rows.shape[1] <= dimension:
        return unit_rows.toarray()
    width = min(dimension, unit_rows.shape[0])
    _, _, directions = randomized_svd(
        unit_rows, width, n_iter=_POWER_ITERATIONS, random_state=seed % _LARGEST_SEED
    )
    return to_unit_length(unit_rows @ directions.T.astype(np.float32))


def to_unit_length(vectors: np.ndarray) -> np.ndarray:
    """Scales rows to length 1 in place; rows that are nearly 0 become 0. Returns the array."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > _NOTHING)
    vectors *= scale.astype(np.float32)[:, None]
    return vectors


def _without_empty_columns(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    used = np.bincount(matrix.indices, minlength=matrix.shape[1]) > 0
    number = np.cumsum(used) - 1
    return sparse.csr_matrix(
        (matrix.data, number[matrix.indices].astype(np.int32), matrix.indptr),
        shape=(matrix.shape[0], int(used.sum())),
    )
