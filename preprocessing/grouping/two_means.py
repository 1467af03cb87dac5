"""Cuts rows in two: by 2-means, or in halves along their principal direction.

Rows are read some thousand at a time, so that nothing of the size of the input is copied. Distances
and sums are float32 within such a chunk and float64 over chunks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_ROWS_PER_CHUNK = 1 << 14
_MOST_ITERATIONS = 20
_SETTLED_SHARE = 1e-3
_POWER_ITERATIONS = 10


def two_means(vectors: np.ndarray, random: np.random.Generator) -> np.ndarray | None:
    """Lloyd's algorithm for two centres, drawn as k-means++ does: far from each other.

    Args:
      vectors: [rows, width] float32.
      random: draws the first centres.

    Returns:
      [rows] True for the rows of the second cluster; None when all rows are alike, so that no
      cluster can be told from another.
    """
    start = vectors[random.integers(len(vectors))]
    first = _drawn_far_from(start, vectors, random)
    second = None if first is None else _drawn_far_from(first, vectors, random)
    if first is None or second is None:
        return None
    side = _nearer_to_second(vectors, first, second)
    for _ in range(_MOST_ITERATIONS):
        in_second = int(side.sum())
        if in_second in (0, len(side)):
            return side
        total, part = _sums(vectors, side)
        first = (total - part) / (len(side) - in_second)
        second = part / in_second
        before, side = side, _nearer_to_second(vectors, first, second)
        if (side != before).sum() <= _SETTLED_SHARE * len(side):
            return side
    return side


def halves(vectors: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Cuts at the median along the principal direction.

    Args:
      vectors: [rows, width] float32.
      counted: [rows] True for the rows of which each side gets a half, the second side the odd one.

    Returns:
      [rows] True for the second side. Rows at the same place are cut in their order.
    """
    order = np.argsort(_principal_coordinates(vectors), kind="stable")
    passed = np.cumsum(counted[order])
    side = np.empty(len(vectors), dtype=bool)
    side[order] = passed > passed[-1] // 2
    return side


def nearest_first(vectors: np.ndarray) -> np.ndarray:
    """Row numbers by distance from the rows' mean; rows equally far in their order."""
    centre = _mean(vectors)
    return np.argsort(_squared_distances(vectors, centre), kind="stable")


def _chunks(vectors: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(vectors), _ROWS_PER_CHUNK):
        rows = slice(start, start + _ROWS_PER_CHUNK)
        yield rows, vectors[rows]


def _drawn_far_from(
    place: np.ndarray, vectors: np.ndarray, random: np.random.Generator
) -> np.ndarray | None:
    """A row, drawn with the squared distance from a place as weight; None if none is elsewhere."""
    cumulated = np.cumsum(_squared_distances(vectors, place))
    if cumulated[-1] <= 0:
        return None
    row = np.searchsorted(cumulated, random.random() * cumulated[-1], side="right")
    return vectors[min(int(row), len(vectors) - 1)]


def _squared_distances(vectors: np.ndarray, place: np.ndarray) -> np.ndarray:
    distances = np.empty(len(vectors), dtype=np.float64)
    place = place.astype(np.float32)
    for rows, chunk in _chunks(vectors):
        difference = chunk - place
        distances[rows] = np.einsum("ij,ij->i", difference, difference)
    return distances


def _nearer_to_second(vectors: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    direction = second.astype(np.float64) - first
    threshold = direction @ (second.astype(np.float64) + first) / 2
    return _products(vectors, direction) > threshold


def _products(vectors: np.ndarray, direction: np.ndarray) -> np.ndarray:
    products = np.empty(len(vectors), dtype=np.float64)
    direction = direction.astype(np.float32)
    for rows, chunk in _chunks(vectors):
        products[rows] = chunk @ direction
    return products


def _sums(vectors: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[width] sums over all rows and over those of the second side."""
    sums = np.zeros([2, vectors.shape[1]], dtype=np.float64)
    for rows, chunk in _chunks(vectors):
        weights = np.ones([2, len(chunk)], dtype=np.float32)
        weights[1] = side[rows]
        sums += weights @ chunk
    return sums[0], sums[1]


def _mean(vectors: np.ndarray) -> np.ndarray:
    return _sums(vectors, np.zeros(len(vectors), dtype=bool))[0] / len(vectors)


def _principal_coordinates(vectors: np.ndarray) -> np.ndarray:
    """[rows] coordinates along the direction of largest variance, by power iteration."""
    centre = _mean(vectors)
    farthest = int(np.argmax(_squared_distances(vectors, centre)))
    direction = vectors[farthest] - centre
    for _ in range(_POWER_ITERATIONS):
        length = np.linalg.norm(direction)
        if length == 0:
            break
        unit = (direction / length).astype(np.float32)
        direction = np.zeros(vectors.shape[1], dtype=np.float64)
        for _, chunk in _chunks(vectors):
            centred = chunk - centre.astype(np.float32)
            direction += (centred @ unit) @ centred
    return _products(vectors, direction)
