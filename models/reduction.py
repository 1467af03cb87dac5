"""Reducing knowledge vectors: principal directions, landmarks and Nystroem features.

Plain NumPy, run once when a model is built, and again with the same directions or landmarks for new
items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

# Added to the diagonal of the landmarks' kernel matrix, which equal landmarks make singular.
KERNEL_JITTER = 1e-6
_MOST_CLUSTERED_ROWS = 10_000
_SEED = 0  # of the sample of vectors and of k-means
_BLOCK_ROWS = 2**16


def by_blocks(function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Applies a function, row by row, to blocks of rows.

    What it computes on the way takes as much memory as a block needs, and not many times that of
    millions of vectors.

    Args:
      function: [k, ...] -> [k, ...].
      rows: [rows, ...].

    Returns:
      The function's result over all rows.
    """
    blocks = _blocks(rows)
    first = function(next(blocks))
    result = np.empty([len(rows), *first.shape[1:]], first.dtype)
    result[: len(first)] = first
    done = len(first)
    for block in blocks:
        result[done : done + len(block)] = function(block)
        done += len(block)
    return result


def known_rows(vectors: np.ndarray) -> np.ndarray:
    """Which rows hold a vector; rows of zeros are missing. [rows, width] -> bool [rows]."""
    return by_blocks(lambda block: np.any(block != 0, axis=1), np.asarray(vectors))


def mean_vector(vectors: np.ndarray) -> np.ndarray:
    """Mean of the rows that hold a vector, zeros when none does: [rows, width] -> [width]."""
    num_vectors = np.count_nonzero(known_rows(vectors))
    # The other rows add nothing.
    total = np.asarray(vectors).sum(axis=0, dtype=np.float64)
    return (total / max(int(num_vectors), 1)).astype(np.float32)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Scales every row to length 1; rows of zeros stay. [rows, width] -> [rows, width]."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, np.where(norms > 0, norms, 1.0)).astype(np.float32, copy=False)


def principal_directions(centred: np.ndarray, dimension: int, *, whiten: bool) -> np.ndarray:
    """First principal directions of centred vectors.

    Args:
      centred: [rows, width], of mean 0.
      dimension: directions kept; fewer when the vectors do not have that many.
      whiten: whether every direction is divided by the standard deviation along it.

    Returns:
      [width, min(dimension, rank)], float32; `centred @ directions` are the components.
    """
    width = np.shape(centred)[1]
    products = np.zeros([width, width])
    for block in _blocks(centred):
        wide = np.asarray(block, np.float64)
        products += wide.T @ wide
    covariance = products / max(len(centred), 1)
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


def cluster_landmarks(vectors: np.ndarray, centre: np.ndarray, count: int) -> np.ndarray:
    """Chooses landmarks for `nystroem_features`: k-means centres scaled to length 1.

    Of more than 10,000 vectors a random 10,000 are clustered.

    Args:
      vectors: [rows, width]; rows of zeros are missing.
      centre: [width]; the vectors less the centre, scaled to length 1, are clustered.
      count: landmarks wanted; fewer when there are fewer distinct vectors.

    Returns:
      [min(count, distinct rows), width].
    """
    rows = np.flatnonzero(known_rows(vectors))
    if len(rows) > _MOST_CLUSTERED_ROWS:
        random = np.random.default_rng(_SEED)
        rows = rows[np.sort(random.choice(len(rows), _MOST_CLUSTERED_ROWS, replace=False))]
    distinct = np.unique(unit_rows(vectors[rows] - centre), axis=0)
    if len(distinct) <= count:
        return distinct
    # One thread: sums do not depend on their number, and threads wait for each other at length.
    with threadpool_limits(limits=1):
        clusters = KMeans(n_clusters=count, n_init=1, random_state=_SEED).fit(distinct)
    return unit_rows(clusters.cluster_centers_)


def _fixed_signs(directions: np.ndarray) -> np.ndarray:
    """Makes every column's largest entry positive: results must not depend on the LAPACK build."""
    largest = np.abs(directions).argmax(axis=0)
    return directions * np.sign(directions[largest, np.arange(directions.shape[1])])


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Consecutive rows, at least one block."""
    for start in range(0, max(len(rows), 1), _BLOCK_ROWS):
        yield rows[start : start + _BLOCK_ROWS]
