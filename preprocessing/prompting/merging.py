"""Groups too small or too empty to be asked about, merged into others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Merging:
    """Where the groups go.

    Attributes:
      target: [groups] the group into which each is merged, itself for one that stays.
      suppressed: groups that stay and are still too small, so nothing may be asked about them.
    """

    target: np.ndarray
    suppressed: list[int]


def merge_groups(
    sizes: np.ndarray,
    minimum: int,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Merging:
    """Merges every group smaller than a minimum into the nearest group that is large enough.

    Nearest is the one with the largest cosine between the groups' counts by item; a group without
    counts in common with any goes to the largest one. Where no group is large enough, all are
    merged into the largest, which is suppressed if that does not make it large enough.

    Args:
      sizes: [groups] what must reach the minimum: contributing users, or items with a title.
      minimum: at least 1.
      rows: group, item and count of each pair that occurs, sorted by group, then item.

    Returns:
      Where the groups go. It depends on nothing but the arguments.
    """
    target = np.arange(len(sizes))
    if not len(sizes):
        return Merging(target, [])
    largest = int(np.argmax(sizes))
    small = np.flatnonzero(sizes < minimum)
    if len(small) == len(sizes):
        target[:] = largest
        return Merging(target, [largest] if sizes.sum() < minimum else [])
    target[small] = largest
    if len(small):
        _merge_into_nearest(target, small, sizes >= minimum, rows)
    return Merging(target, [])


def _merge_into_nearest(
    target: np.ndarray,
    small: np.ndarray,
    stays: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    group, item, count = rows
    norms = np.sqrt(np.bincount(group, weights=count.astype(np.float64) ** 2, minlength=len(stays)))
    kept = np.flatnonzero(stays[group])
    kept = kept[np.argsort(item[kept], kind="stable")]
    kept_items = item[kept]
    starts = np.searchsorted(group, small, side="left")
    ends = np.searchsorted(group, small, side="right")
    for number, start, end in zip(small.tolist(), starts.tolist(), ends.tolist(), strict=True):
        first = np.searchsorted(kept_items, item[start:end], side="left")
        last = np.searchsorted(kept_items, item[start:end], side="right")
        shared = np.concatenate([kept[a:b] for a, b in zip(first, last, strict=True)] or [kept[:0]])
        own_count = np.repeat(count[start:end], last - first)
        products = np.bincount(
            group[shared], weights=own_count * count[shared], minlength=len(stays)
        )
        cosines = products / np.maximum(norms, 1e-12)
        if cosines.max() > 0:
            target[number] = int(np.argmax(cosines))
