"""All interactions that groups may be made from: [0, k_u) of every user (leak rule)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.prompting.first_interactions import FirstInteractions


@dataclass(frozen=True)
class KnownInteractions:
    """Interactions [0, k_u) of all users, as numbers; a user's rows stand together, oldest first.

    Attributes:
      user_ids: [users] sorted ids of all users of the log.
      item_ids: [items] sorted ids of the items in these interactions.
      user_of_row: [rows] int32 index into `user_ids`.
      item_of_row: [rows] int32 index into `item_ids`.
      liked: [rows] True where the user liked the item.
    """

    user_ids: pa.Array
    item_ids: pa.Array
    user_of_row: np.ndarray
    item_of_row: np.ndarray
    liked: np.ndarray

    def numbered_by(self, item_ids: pa.Array) -> KnownInteractions:
        """The same interactions with items numbered by other sorted ids, those of here included."""
        number = pc.index_in(self.item_ids, value_set=item_ids).to_numpy().astype(np.int32)
        return replace(self, item_ids=item_ids, item_of_row=number[self.item_of_row])


def collect_known_interactions(shards: Iterable[FirstInteractions]) -> KnownInteractions:
    """Brings the shards together; 9 bytes an interaction, and the ids.

    Args:
      shards: the interactions of some users each, every user in one shard.
    """
    user_ids, item_ids = [], []
    users, items, liked = [], [], []
    for seen in shards:
        encoded = pa.array(seen.items, pa.string()).dictionary_encode()
        user_ids.append(pa.array(seen.users, pa.string()))
        item_ids.append(encoded.dictionary)
        users.append(seen.user_of_row.astype(np.int32))
        items.append(encoded.indices.to_numpy().astype(np.int32))
        liked.append(seen.liked)
    all_users, users = _renumbered(user_ids, users)
    all_items, items = _renumbered(item_ids, items)
    return KnownInteractions(
        user_ids=all_users,
        item_ids=all_items,
        user_of_row=_joined(users, np.int32),
        item_of_row=_joined(items, np.int32),
        liked=_joined(liked, np.bool_),
    )


def sorted_ids(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Distinct ids in text order."""
    distinct = pc.unique(ids)
    return distinct.take(pc.array_sort_indices(distinct))


def _renumbered(
    ids_of_shard: list[pa.Array], numbers_of_shard: list[np.ndarray]
) -> tuple[pa.Array, list[np.ndarray]]:
    """Sorted ids of all shards, and the numbers as indices into them."""
    ids = sorted_ids(pa.chunked_array(ids_of_shard, pa.string()))
    renumbered = []
    for own, numbers in zip(ids_of_shard, numbers_of_shard, strict=True):
        place = pc.index_in(own, value_set=ids).to_numpy().astype(np.int32)
        renumbered.append(place[numbers])
    return ids, renumbered


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype=dtype)
