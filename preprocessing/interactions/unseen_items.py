"""Items that are new to a user, drawn by hash: the same in every run.

A draw depends on the seed, the user, the position of the interaction it belongs to, its number and
what the user knows, not on the other users of a shard. What a user does later must stay unknown
here: an item that is never drawn because the user meets it later would reveal just that.

The items to draw from are all that can be ranked: those of the catalogue and those that occur in
the log. They say nothing about when an item occurred.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.hashing import mixed, stable_hashes, unit_interval
from preprocessing.interactions.sequences import UserSequences

_ATTEMPTS = 32
"""Draws that may hit an item the user knows before all items that are left are listed."""


@dataclass(frozen=True)
class ItemUniverse:
    """All items that can be drawn.

    Attributes:
      item_ids: [items] strings, each once, in text order.
      popularity: [items] int64, training interactions of each.
    """

    item_ids: pa.Array
    popularity: np.ndarray


@dataclass(frozen=True)
class Draws:
    """Drawn items.

    Attributes:
      of: [drawn] number of the request that the item was drawn for, ascending.
      items: [drawn] index into the universe's items.
      missing: how many items could not be drawn, because the user knows all that are left.
    """

    of: np.ndarray
    items: np.ndarray
    missing: int


class UnseenItems:
    """Draws items for some users.

    Args:
      universe: what to draw from; holds every item of the sequences.
      sequences: all interactions of the users.
      known: [rows] True for the interactions by which a user knows an item; what a user knows is
        never drawn.
      by_popularity: draw an item in proportion to its training interactions; else every item alike.
      purpose: name and seed of the draws, e.g. "negatives 0".
    """

    def __init__(
        self,
        universe: ItemUniverse,
        sequences: UserSequences,
        known: np.ndarray,
        by_popularity: bool,
        purpose: str,
    ):
        self._count = len(universe.item_ids)
        weights = universe.popularity if by_popularity else np.ones(self._count, dtype=np.int64)
        self._ends = np.cumsum(weights)
        self._weights = weights
        self._user_hashes = stable_hashes(sequences.users, purpose)
        item_numbers = pc.index_in(
            pa.array(sequences.item_ids, pa.string()), value_set=universe.item_ids
        ).to_numpy()
        items = item_numbers[sequences.item_of_row[known]]
        pairs = np.unique(self._pairs(sequences.user_of_row[known], items))
        # No pair is that large, so every search ends at a place of the array.
        self._known = np.append(pairs, np.iinfo(np.int64).max)
        drawable = weights > 0
        known_drawable = pairs[drawable[pairs % max(self._count, 1)]] // max(self._count, 1)
        self._left_of_user = np.count_nonzero(drawable) - np.bincount(
            known_drawable, minlength=len(sequences.users)
        )

    def draw(self, users: np.ndarray, positions: np.ndarray, wanted: np.ndarray) -> Draws:
        """Draws distinct items for each request.

        Args:
          users: [requests] index into the sequences' users.
          positions: [requests] position of the user's interaction that the items belong to.
          wanted: [requests] number of items.
        """
        keys = mixed(self._user_hashes[users] ^ mixed(positions.astype(np.uint64)))
        possible = np.minimum(wanted, self._left_of_user[users])
        chosen = np.full((len(users), possible.max(initial=0)), -1, dtype=np.int64)
        for slot in range(chosen.shape[1]):
            waiting = np.flatnonzero(possible > slot)
            for attempt in range(_ATTEMPTS):
                if not len(waiting) or not self._total:
                    break
                numbers = mixed(keys[waiting] + np.uint64(1 + slot * (_ATTEMPTS + 1) + attempt))
                items = self._item_at(unit_interval(numbers))
                taken = self._knows(users[waiting], items)
                taken |= (chosen[waiting, :slot] == items[:, np.newaxis]).any(axis=1)
                chosen[waiting[~taken], slot] = items[~taken]
                waiting = waiting[taken]
            self._draw_from_rest(waiting, slot, users, keys, chosen)
        of, slots = np.nonzero(chosen >= 0)
        return Draws(of=of, items=chosen[of, slots], missing=int(wanted.sum()) - len(of))

    def _draw_from_rest(
        self,
        requests: np.ndarray,
        slot: int,
        users: np.ndarray,
        keys: np.ndarray,
        chosen: np.ndarray,
    ) -> None:
        """Draws by listing what is left, for requests whose user knows most items."""
        user, unknown = -1, np.zeros(0, dtype=np.int64)
        for request in requests.tolist():
            if users[request] != user:
                user = users[request]
                unknown = self._unknown(user)
            left = unknown[~np.isin(unknown, chosen[request, :slot])]
            ends = np.cumsum(self._weights[left])
            if len(left) and ends[-1]:
                number = mixed(
                    keys[request : request + 1] + np.uint64((slot + 1) * (_ATTEMPTS + 1))
                )
                place = (unit_interval(number) * ends[-1]).astype(np.int64)
                chosen[request, slot] = left[np.searchsorted(ends, place, side="right")[0]]

    @property
    def _total(self) -> int:
        return int(self._ends[-1]) if self._count else 0

    def _item_at(self, places: np.ndarray) -> np.ndarray:
        """Items by places in [0, 1), each as wide as its weight."""
        numbers = (places * self._total).astype(np.int64)
        return np.searchsorted(self._ends, numbers, side="right")

    def _pairs(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return users * np.int64(self._count) + items

    def _knows(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        pairs = self._pairs(users, items)
        return self._known[np.searchsorted(self._known, pairs)] == pairs

    def _unknown(self, user: int) -> np.ndarray:
        """All items of some weight that a user does not know."""
        first, end = np.searchsorted(self._known, [user * self._count, (user + 1) * self._count])
        known = self._known[first:end] - user * self._count
        candidates = self._weights > 0
        candidates[known] = False
        return np.flatnonzero(candidates)
