"""Size-capped hierarchical grouping: bisecting 2-means, and the names of its groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from preprocessing.grouping.plan import Kind
from preprocessing.records.hashing import stable_hash

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
    centre: np.ndarray, vectors: np.ndarray, random: np.random.Generator
) -> np.ndarray | None:
    """A row, drawn with the squared distance from a place as weight; None if none is elsewhere."""
    cumulated = np.cumsum(_squared_distances(vectors, centre))
    if cumulated[-1] <= 0:
        return None
    row = np.searchsorted(cumulated, random.random() * cumulated[-1], side="right")
    return vectors[min(int(row), len(vectors) - 1)]


def _squared_distances(vectors: np.ndarray, centre: np.ndarray) -> np.ndarray:
    distances = np.empty(len(vectors), dtype=np.float64)
    centre = centre.astype(np.float32)
    for rows, chunk in _chunks(vectors):
        difference = chunk - centre
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


LEFT_OUT = -1
_SMALLEST_SHARE = 0.1
_ROOT = 1
_SEEDS = 1 << 64


@dataclass(frozen=True)
class Bisection:
    """Groups of rows.

    Attributes:
      group_of_row: [rows] number of the group, LEFT_OUT for a row that no group could take. Groups
        are numbered in the order of the tree: neighbours are alike.
      groups: number of groups.
      depth: cuts between all rows and the deepest group.
    """

    group_of_row: np.ndarray
    groups: int
    depth: int


@dataclass(frozen=True)
class _Node:
    start: int
    end: int
    path: int
    depth: int


def bisect(
    vectors: np.ndarray, counted: np.ndarray, maximum: int, minimum: int, seed: int
) -> Bisection:
    """Groups rows by likeness.

    Args:
      vectors: [rows, width] float32. Reordered in place: a copy would double the memory.
      counted: [rows] True for the rows that can speak for a group, such as items with a title.
      maximum: most rows of a group.
      minimum: fewest counted rows of a group; at most half of `maximum` + 1, so that a group of one
        row too many can be halved.
      seed: of all random draws.

    Returns:
      Groups of at most `maximum` rows, at least `minimum` of them counted. Rows are left out when
      there are not enough counted rows near them: all of them when there are fewer than `minimum`,
      else the rows farthest from the middle of a group that cannot be cut any more.

    Raises:
      ValueError: `minimum` is too large for `maximum`.
    """
    if not 1 <= minimum <= (maximum + 1) // 2:
        raise ValueError(
            f"expected 1 <= minimum <= (maximum + 1) / 2. Received: minimum={minimum}, "
            f"maximum={maximum}"
        )
    group_of_row = np.full(len(vectors), LEFT_OUT, dtype=np.int64)
    if counted.sum() < minimum:
        return Bisection(group_of_row, groups=0, depth=0)
    rows = np.arange(len(vectors))
    groups = depth = 0
    nodes = [_Node(0, len(vectors), _ROOT, 0)]
    while nodes:
        node = nodes.pop()
        inside = rows[node.start : node.end]
        own = vectors[node.start : node.end]
        large_enough = counted[inside]
        if len(inside) <= maximum or large_enough.sum() < 2 * minimum:
            group_of_row[inside[_kept(own, large_enough, maximum)]] = groups
            groups += 1
            depth = max(depth, node.depth)
            continue
        side = _cut(own, large_enough, minimum, np.random.default_rng([seed % _SEEDS, node.path]))
        order = np.concatenate([np.flatnonzero(~side), np.flatnonzero(side)])
        inside[:], own[:] = inside[order], own[order]
        middle = node.end - int(side.sum())
        nodes.append(_Node(middle, node.end, 2 * node.path + 1, node.depth + 1))
        nodes.append(_Node(node.start, middle, 2 * node.path, node.depth + 1))
    return Bisection(group_of_row, groups, depth)


def _cut(
    vectors: np.ndarray, counted: np.ndarray, minimum: int, random: np.random.Generator
) -> np.ndarray:
    """[rows] True for the second side; both sides have at least `minimum` counted rows."""
    side = two_means(vectors, random)
    if side is not None:
        in_second = int(side.sum())
        smaller = min(in_second, len(side) - in_second)
        speaking = int(counted[side].sum())
        fewest = min(speaking, int(counted.sum()) - speaking)
        if smaller >= _SMALLEST_SHARE * len(side) and fewest >= minimum:
            return side
    return halves(vectors, counted)


def _kept(vectors: np.ndarray, counted: np.ndarray, maximum: int) -> np.ndarray:
    """Rows of a group: all, or the counted ones and then those nearest to the middle."""
    if len(vectors) <= maximum:
        return np.arange(len(vectors))
    order = nearest_first(vectors)
    counted_first = order[np.argsort(~counted[order], kind="stable")]
    return counted_first[:maximum]


_DIGEST_DIGITS = 6


def group_names(
    entity_ids: pa.Array,
    digests: np.ndarray,
    group_of_entity: np.ndarray,
    groups: int,
    kind: Kind,
) -> list[str]:
    """[groups] names in the order of the groups.

    Args:
      entity_ids: [entities] sorted.
      digests: [entities] uint64 of what is known about each (`entity_digests`).
      group_of_entity: [entities] number of the group, negative for none.
      groups: number of groups.
      kind: groups of items, or of users by what they liked or disliked.
    """
    order = np.argsort(group_of_entity, kind="stable")
    ends = np.searchsorted(group_of_entity[order], np.arange(groups + 1))
    digits = max(4, len(str(groups)))
    names = []
    for number, (start, end) in enumerate(zip(ends[:-1], ends[1:], strict=True), start=1):
        rows = order[start:end]
        members = zip(
            entity_ids.take(pa.array(rows)).to_pylist(), digests[rows].tolist(), strict=True
        )
        content = "\n".join([kind, *(f"{number:016x} {member}" for member, number in members)])
        digest = f"{stable_hash(content, 'group'):016x}"[:_DIGEST_DIGITS]
        names.append(f"g{number:0{digits}d}-{digest}")
    return names
