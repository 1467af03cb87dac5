"""The known interactions of each user or item as one number: others give another number."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.grouping.kinds import Kind
from preprocessing.grouping.known_interactions import KnownInteractions
from preprocessing.hashing import mixed, stable_hashes

_ROWS_AT_ONCE = 1 << 20


def fingerprints(kind: Kind, entity_ids: pa.Array, known: KnownInteractions) -> np.ndarray:
    """[entities] uint64 of the known interactions of each.

    It is the sum of a hash for each interaction: of user, item, whether the user liked it, and its
    place among the user's interactions. So it depends on the order within a user, and on no other.

    Args:
      kind: groups of items, or of users by what they liked or disliked.
      entity_ids: items or users, those of `known` or some of them.
      known: the interactions.
    """
    if kind == "item":
        ids, entity_of_row = known.item_ids, known.item_of_row
    else:
        ids, entity_of_row = known.user_ids, known.user_of_row
    sums = _sums(known, entity_of_row, len(ids))
    return sums[pc.index_in(entity_ids, value_set=ids).to_numpy()]


def _sums(known: KnownInteractions, entity_of_row: np.ndarray, entities: int) -> np.ndarray:
    users, items = _hashes(known.user_ids, "known user"), _hashes(known.item_ids, "known item")
    first_row = _first_rows(known)
    sums = np.zeros(entities, dtype=np.uint64)
    for start in range(0, len(entity_of_row), _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(entity_of_row)))
        user = known.user_of_row[rows]
        hashes = mixed(users[user] + items[known.item_of_row[rows]])
        hashes = mixed(hashes + (rows - first_row[user]).astype(np.uint64))
        hashes = mixed(hashes + known.liked[rows].astype(np.uint64))
        np.add.at(sums, entity_of_row[rows], hashes)
    return sums


def _hashes(ids: pa.Array, purpose: str) -> np.ndarray:
    return stable_hashes((identifier.as_py() for identifier in ids), purpose)


def _first_rows(known: KnownInteractions) -> np.ndarray:
    """[users] row of each user's first interaction; 0 for a user without any."""
    first_row = np.zeros(len(known.user_ids), dtype=np.int64)
    # Row 0 is the first row of its user, which has 0 already.
    starts = 1 + np.flatnonzero(known.user_of_row[1:] != known.user_of_row[:-1])
    first_row[known.user_of_row[starts]] = starts
    return first_row
