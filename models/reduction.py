"""Reducing knowledge vectors: principal directions, landmarks and Nystroem features.

Plain NumPy, run once when a model is built, and again with the same directions or landmarks for new
items.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

# Added to the diagonal of the landmarks' kernel matrix, which equal landmarks make singular.
KERNEL_JITTER = 1e-6
_MOST_CLUSTERED_ROWS = 10_000


def known_rows(vectors: np.ndarray) -> np.ndarray:
    """Which rows hold a vector; rows of zeros are missing. [rows, width] -> bool [rows]."""
    return np.any(np.asarray(vectors) != 0, axis=1)


def mean_vector(vectors: np.ndarray) -> np.ndarray:
    """Mean of the rows that hold a vector, zeros when none does: [rows, width] -> [width]."""
    known = known_rows(vectors)
    if not known.any():
        return np.zeros(np.shape(vectors)[1], np.float32)
    return np.asarray(vectors)[known].mean(axis=0, dtype=np.float64).astype(np.float32)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Scales every row to length 1; rows of zeros stay. [rows, width] -> [rows, width]."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, np.where(norms > 0, norms, 1.0)).astype(np.float32)


def principal_directions(centred: np.ndarray, dimension: int, *, whiten: bool) -> np.ndarray:
    """First principal directions of centred vectors.

    Args:
      centred: [rows, width], of mean 0.
      dimension: directions kept; fewer when the vectors do not have that many.
      whiten: whether every direction is divided by the standard deviation along it.

    Returns:
      [width, min(dimension, rank)], float32; `centred @ directions` are the components.
    """
    centred = np.asarray(centred, np.float64)
    covariance = centred.T @ centred / max(len(centred), 1)
    variances, directions = np.linalg.eigh(covariance)
    order = np.argsort(variances)[::-1][:dimension]
    order = order[variances[order] > 1e-10 * max(variances.max(), 1e-30)]
    directions = _fixed_signs(directions[:, order])
    if whiten:
        directions = directions / np.sqrt(variances[order])
    return directions.astype(np.float32)


def cosine_kernel(cosines: np.ndarray, length_scale: float, bias: float = 0.0) -> np.ndarray:
    """Computes bias + exp((cosine - 1) / length_scale), elementwise."""
    return bias + np.exp((cosines - 1.0) / length_scale)


def nystroem_features(
    cosines: np.ndarray, landmark_cosines: np.ndarray, length_scale: float, bias: float
) -> np.ndarray:
    """Features whose inner products approximate the cosine kernel.

    phi(v) = [L^-1 k_Z(v), sqrt(bias)] with landmarks Z, K = exp((cosine - 1) / length_scale) and
    K_ZZ + jitter = L L' (Williams and Seeger, "Using the Nystroem method to speed up kernel
    machines", 2001; the Cholesky factor gives the inner products of the symmetric root).

    Args:
      cosines: [rows, m], of vectors with the landmarks.
      landmark_cosines: [m, m], among the landmarks.
      length_scale: of the kernel.
      bias: constant added to the kernel.

    Returns:
      [rows, m + 1], float32.
    """
    among = cosine_kernel(landmark_cosines.astype(np.float64), length_scale)
    factor = np.linalg.cholesky(among + KERNEL_JITTER * np.eye(len(among)))
    kernel = cosine_kernel(cosines.astype(np.float64), length_scale)
    whitened = np.linalg.solve(factor, kernel.T).T
    constant = np.full([len(kernel), 1], np.sqrt(bias))
    return np.concatenate([whitened, constant], axis=1).astype(np.float32)


def cluster_landmarks(unit_vectors: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Chooses landmarks for `nystroem_features`: k-means centres scaled to length 1.

    Of more than 10,000 vectors a random 10,000 are clustered.

    Args:
      unit_vectors: [rows, width].
      count: landmarks wanted; fewer when there are fewer distinct vectors.
      seed: of the sample and of k-means.

    Returns:
      [min(count, distinct rows), width].
    """
    if len(unit_vectors) > _MOST_CLUSTERED_ROWS:
        random = np.random.default_rng(seed)
        sampled = random.choice(len(unit_vectors), _MOST_CLUSTERED_ROWS, replace=False)
        unit_vectors = unit_vectors[np.sort(sampled)]
    distinct = np.unique(unit_vectors, axis=0)
    if len(distinct) <= count:
        return distinct
    # One thread: sums do not depend on their number, and threads wait for each other at length.
    with threadpool_limits(limits=1):
        clusters = KMeans(n_clusters=count, n_init=1, random_state=seed).fit(distinct)
    return unit_rows(clusters.cluster_centers_)


def _fixed_signs(directions: np.ndarray) -> np.ndarray:
    """Makes every column's largest entry positive: results must not depend on the LAPACK build."""
    largest = np.abs(directions).argmax(axis=0)
    return directions * np.sign(directions[largest, np.arange(directions.shape[1])])
