from __future__ import annotations

import numpy as np
import pyarrow as pa

from preprocessing.grouping.entities import collect_known_interactions
from preprocessing.interactions.first_interactions import FirstInteractions


def shard(users: list[str], rows: list[tuple[int, str, bool]]) -> FirstInteractions:
    return FirstInteractions(
        users=users,
        user_of_row=np.array([row[0] for row in rows], dtype=np.int64),
        items=[row[1] for row in rows],
        ratings=np.ones(len(rows)),
        liked=np.array([row[2] for row in rows], dtype=bool),
    )


SHARDS = [
    shard(["eve", "bob"], [(0, "9", True), (1, "10", False), (1, "9", True)]),
    shard([], []),
    shard(["ann", "lurker"], [(0, "8", True)]),
]


def readable(known) -> set[tuple[str, str, bool]]:
    users, items = known.user_ids.to_pylist(), known.item_ids.to_pylist()
    rows = zip(
        known.user_of_row.tolist(), known.item_of_row.tolist(), known.liked.tolist(), strict=True
    )
    return {(users[user], items[item], liked) for user, item, liked in rows}


def test_shards_are_brought_together():
    known = collect_known_interactions(SHARDS)
    assert known.user_ids.to_pylist() == ["ann", "bob", "eve", "lurker"]
    assert known.item_ids.to_pylist() == ["10", "8", "9"]
    assert known.user_of_row.dtype == known.item_of_row.dtype == np.int32
    assert readable(known) == {
        ("eve", "9", True), ("bob", "10", False), ("bob", "9", True), ("ann", "8", True),
    }  # fmt: skip


def test_items_can_be_numbered_by_a_longer_list():
    known = collect_known_interactions(SHARDS)
    longer = known.numbered_by(pa.array(["10", "7", "8", "85", "9"]))
    assert readable(longer) == readable(known)
    assert longer.item_ids.to_pylist() == ["10", "7", "8", "85", "9"]


def test_no_interactions():
    known = collect_known_interactions([])
    assert len(known.user_ids) == len(known.item_ids) == len(known.liked) == 0
    assert len(known.numbered_by(pa.array(["a"])).item_of_row) == 0
