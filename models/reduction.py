"""Reduced item tables for knowledge match: principal components and Nystroem features.

Plain NumPy, run once when a model is built. Row 0 of every table means "missing" and is all zeros.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans


def principal_components(vectors: np.ndarray, dimension: int, *, whiten: bool) -> np.ndarray:
    """Centres vectors and projects them on their first principal components.

    Args:
      vectors: [rows, width].
      dimension: components kept; fewer when the vectors do not have that many.
      whiten: whether every component is divided by its standard deviation.

    Returns:
      [rows, min(dimension, rank)], float32.
    """
    centred = np.asarray(vectors, np.float64)
    centred = centred - centred.mean(axis=0)
    covariance = centred.T @ centred / max(len(centred), 1)
    variances, directions = np.linalg.eigh(covariance)
    order = np.argsort(variances)[::-1][:dimension]
    order = order[variances[order] > 1e-10 * max(variances.max(), 1e-30)]
    projected = centred @ _fixed_signs(directions[:, order])
    if whiten:
        projected = projected / np.sqrt(variances[order])
    return projected.astype(np.float32)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Scales every row to length 1; rows of zeros stay. [rows, width] -> [rows, width]."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, np.where(norms > 0, norms, 1.0)).astype(np.float32)


def cosine_kernel(
    left: np.ndarray, right: np.ndarray, length_scale: float, bias: float
) -> np.ndarray:
    """Computes bias + exp((cosine - 1) / length_scale): [n, width], [m, width] -> [n, m]."""
    return bias + np.exp((left @ right.T - 1.0) / length_scale)


def nystroem_features(
    unit_vectors: np.ndarray, landmarks: np.ndarray, length_scale: float, bias: float
) -> np.ndarray:
    """Features whose inner products approximate the cosine kernel.

    phi(v) = [K_ZZ^(-1/2) k_Z(v), sqrt(bias)] with landmarks Z and K = exp((cosine - 1) /
    length_scale) (Williams and Seeger, "Using the Nystroem method to speed up kernel machines",
    2001).

    Args:
      unit_vectors: [rows, width], of length 1.
      landmarks: [m, width], of length 1.
      length_scale: of the kernel.
      bias: constant added to the kernel.

    Returns:
      [rows, m + 1], float32.
    """
    among_landmarks = cosine_kernel(landmarks, landmarks, length_scale, 0.0)
    values, directions = np.linalg.eigh(among_landmarks.astype(np.float64))
    inverse_root = directions @ np.diag(1.0 / np.sqrt(np.maximum(values, 1e-6))) @ directions.T
    features = cosine_kernel(unit_vectors, landmarks, length_scale, 0.0) @ inverse_root
    constant = np.full([len(features), 1], np.sqrt(bias))
    return np.concatenate([features, constant], axis=1).astype(np.float32)


def cluster_landmarks(unit_vectors: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Chooses landmarks for `nystroem_features`: k-means centres scaled to length 1.

    Args:
      unit_vectors: [rows, width].
      count: landmarks wanted; fewer when there are fewer distinct vectors.
      seed: of k-means.

    Returns:
      [min(count, distinct rows), width].
    """
    distinct = np.unique(unit_vectors, axis=0)
    if len(distinct) <= count:
        return distinct
    clusters = KMeans(n_clusters=count, n_init=1, random_state=seed).fit(distinct)
    return unit_rows(clusters.cluster_centers_)


def _fixed_signs(directions: np.ndarray) -> np.ndarray:
    """Makes every column's largest entry positive: results must not depend on the LAPACK build."""
    largest = np.abs(directions).argmax(axis=0)
    return directions * np.sign(directions[largest, np.arange(directions.shape[1])])
