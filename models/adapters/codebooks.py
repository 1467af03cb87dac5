"""Product quantisation in plain NumPy: cutting vectors, finding centres, choosing codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

# Rounds of k-means; centres hardly move after them.
_ROUNDS = 25


def cut(vectors: np.ndarray, num_parts: int) -> list[np.ndarray]:
    """Cuts [n, dimension] into parts [n, about dimension / num_parts], longer ones first."""
    return np.array_split(vectors, num_parts, axis=1)


def fit_codebook(vectors: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Centres of k-means.

    Args:
      vectors: [n, width].
      size: centres wanted.
      seed: of k-means; equal inputs and seeds give equal centres.

    Returns:
      [min(size, distinct vectors), width] float32; the distinct vectors themselves where there are
      no more than `size`.
    """
    distinct = np.unique(vectors, axis=0)
    if len(distinct) <= size:
        return distinct.astype(np.float32)
    # Several threads add up the members of a cluster in an order that differs between runs.
    with threadpool_limits(limits=1):
        means = KMeans(size, n_init=1, max_iter=_ROUNDS, random_state=seed).fit(vectors)
    return means.cluster_centers_.astype(np.float32)


def nearest_codes(vectors: np.ndarray, codebooks: Sequence[np.ndarray]) -> np.ndarray:
    """Index of the nearest centre for every part of every vector.

    Args:
      vectors: [n, dimension].
      codebooks: the centres of every part, [codes, width of the part].

    Returns:
      int32 [n, parts].
    """
    codes = np.empty([len(vectors), len(codebooks)], np.int32)
    parts = cut(vectors, len(codebooks))
    for index, (part, centres) in enumerate(zip(parts, codebooks, strict=True)):
        # |v - c|^2 without |v|^2, which is the same for all centres.
        distances = np.square(centres).sum(axis=1) - 2 * part @ centres.T
        codes[:, index] = distances.argmin(axis=1)
    return codes
