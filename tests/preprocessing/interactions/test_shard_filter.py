from __future__ import annotations

import random
from collections import Counter

import pyarrow as pa
import pytest

from configs.data import InteractionFilter
from preprocessing.interactions.first_interactions import ShardFilter

Row = tuple[str, str]


def log(users: int, items: int, interactions: int) -> list[Row]:
    generator = random.Random(1)
    return [
        (f"u{generator.randrange(users)}", f"i{int(items * generator.random() ** 3)}")
        for _ in range(interactions)
    ]


def plain_core(rows: list[Row], settings: InteractionFilter) -> list[Row]:
    """The k-core, one fall-out after the other."""
    while True:
        users, items = (Counter(row[column] for row in rows) for column in (0, 1))
        left = [
            (user, item)
            for user, item in rows
            if users[user] >= settings.minimum_user_interactions
            and items[item] >= settings.minimum_item_interactions
        ]
        if len(left) == len(rows) or not settings.repeat:
            return left
        rows = left


@pytest.mark.parametrize("repeat", [True, False])
def test_the_same_interactions_are_left_as_in_a_plain_filter(tmp_path, repeat):
    settings = InteractionFilter(
        minimum_user_interactions=6, minimum_item_interactions=5, repeat=repeat
    )
    rows = sorted(log(60, 90, 500))
    shards = [[row for row in rows if hash_of(row[0]) == shard] for shard in range(3)]
    tables = [pa.table({"user": users(shard), "item": items(shard)}) for shard in shards]
    kept = ShardFilter(lambda shard: tables[shard], len(tables), tmp_path, settings)
    left = [
        row
        for shard, own in enumerate(shards)
        for row, stays in zip(own, kept.kept_rows(shard), strict=True)
        if stays
    ]
    expected = plain_core(rows, settings)
    assert sorted(left) == expected and 0 < len(expected) < len(rows)
    assert kept.kept_items is not None
    assert {item for _, item in expected} <= set(kept.kept_items) < {item for _, item in rows}


def test_everything_may_fall_out(tmp_path):
    table = pa.table({"user": ["a", "b"], "item": ["x", "y"]})
    settings = InteractionFilter(minimum_user_interactions=2)
    assert ShardFilter(lambda shard: table, 1, tmp_path, settings).kept_rows(0).tolist() == [
        False,
        False,
    ]


def hash_of(user: str) -> int:
    return int(user[1:]) % 3


def users(rows: list[Row]) -> list[str]:
    return [user for user, _ in rows]


def items(rows: list[Row]) -> list[str]:
    return [item for _, item in rows]
