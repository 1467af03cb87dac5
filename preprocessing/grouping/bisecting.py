"""Size-capped hierarchical grouping: bisecting 2-means.

The rows are cut in two by 2-means, then each side, until a side is small enough to be a group.
Where 2-means leaves next to nothing on one side, or too little to be asked about, the rows are
halved along their principal direction instead, so that the depth stays logarithmic and the work
O(n log n). Random draws depend on the place in the tree alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.grouping.two_means import halves, nearest_first, two_means

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
