"""The k-core of a log: users and items that have enough interactions with each other.

Users are whole within a shard and items are counted over all shards, so what a round has to carry
over to the next is one flag per item: a user is left exactly when enough of the user's interactions
are with items that are left. What is left when nothing more falls out does not depend on the order
in which users and items were taken out (Seidman, "Network structure and minimum degree", 1983).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from configs.raw_data import InteractionFilter


@dataclass(frozen=True)
class CodedShard:
    """Interactions of some users, as numbers.

    Attributes:
      items: [rows] int32 number of the item, user after user.
      counts: [users] int64 interactions of each user.
    """

    items: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class KeptCounts:
    """What a shard has left.

    Attributes:
      of_item: [items] int64 interactions that are left.
      users: number of users that are left.
    """

    of_item: np.ndarray
    users: int

    @property
    def interactions(self) -> int:
        """Number of interactions that are left."""
        return int(self.of_item.sum())


def kept_rows(shard: CodedShard, kept_items: np.ndarray, settings: InteractionFilter) -> np.ndarray:
    """Which interactions of a shard are left: bool [rows].

    Args:
      shard: interactions of some users, all of each.
      kept_items: [items] bool.
      settings: how many interactions a user needs: of those with the items that are left, or
        without `repeat` of all.
    """
    kept = kept_items[shard.items]
    user_of_row = np.repeat(np.arange(len(shard.counts)), shard.counts)
    counts = shard.counts
    if settings.repeat:
        counts = np.bincount(user_of_row[kept], minlength=len(counts))
    return kept & (counts >= settings.minimum_user_interactions)[user_of_row]


def count_kept(
    shard: CodedShard, kept_items: np.ndarray, settings: InteractionFilter
) -> KeptCounts:
    """Counts what is left of a shard; arguments as for `kept_rows`."""
    kept = kept_rows(shard, kept_items, settings)
    ends = np.cumsum(shard.counts)
    sums = np.concatenate([[0], np.cumsum(kept)])
    per_user = sums[ends] - sums[ends - shard.counts]
    return KeptCounts(
        of_item=np.bincount(shard.items[kept], minlength=len(kept_items)),
        users=int((per_user > 0).sum()),
    )


def count_all(shard: CodedShard, items: int) -> KeptCounts:
    """Counts everything in a shard."""
    return KeptCounts(
        of_item=np.bincount(shard.items, minlength=items), users=int((shard.counts > 0).sum())
    )


def add_counts(first: KeptCounts, second: KeptCounts) -> KeptCounts:
    """Counts of two shards, or more, together."""
    return KeptCounts(first.of_item + second.of_item, first.users + second.users)


@dataclass(frozen=True)
class KeptItems:
    """What a filter leaves.

    Attributes:
      mask: [items] bool.
      unfiltered: users, items and interactions of the whole log.
      rounds: the same numbers after each round; the last one says what is left.
    """

    mask: np.ndarray
    unfiltered: dict[str, int]
    rounds: list[dict[str, int]]


def find_kept_items(
    unfiltered: KeptCounts,
    count: Callable[[np.ndarray], KeptCounts],
    settings: InteractionFilter,
) -> KeptItems:
    """Finds the items that are left.

    Args:
      unfiltered: counts of all interactions.
      count: counts what is left of all shards when items are: takes [items] bool.
      settings: how many interactions users and items need.
    """
    minimum = settings.minimum_item_interactions
    mask = unfiltered.of_item >= minimum
    rounds = []
    while True:
        counts = count(mask)
        rounds.append(_described(counts))
        enough = mask & (counts.of_item >= minimum)
        if not settings.repeat or (enough == mask).all():
            return KeptItems(mask, _described(unfiltered), rounds)
        mask = enough


def _described(counts: KeptCounts) -> dict[str, int]:
    return {
        "users": counts.users,
        "items": int((counts.of_item > 0).sum()),
        "interactions": counts.interactions,
    }
