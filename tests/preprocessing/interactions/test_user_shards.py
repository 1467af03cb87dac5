from __future__ import annotations

import hashlib

from preprocessing.arrow_bytes import table_from_bytes
from preprocessing.interactions.training_log import has_integer_items, rows_by_shard, shard_of_rows
from tests.preprocessing.interactions.made_interactions import interaction_table


def shard_of(user: str, shards: int) -> int:
    digest = hashlib.blake2b(user.encode(), digest_size=8, key=b"shard").digest()
    return int.from_bytes(digest, "little") % shards


def test_shards_hold_all_rows_of_their_users():
    table = interaction_table(
        *((f"u{number % 7}", str(number), 4.0, number) for number in range(50))
    )
    of_row = shard_of_rows(table, 4)
    assert of_row.tolist() == [shard_of(user, 4) for user in table["user"].to_pylist()]
    found = {}
    for shard, rows in rows_by_shard(table, 4):
        for row in table_from_bytes(rows).to_pylist():
            found[row["line"]] = shard
    assert found == dict(zip(table["line"].to_pylist(), of_row.tolist(), strict=True))
    assert has_integer_items(table) and has_integer_items(table.slice(0, 0))
    assert not has_integer_items(interaction_table(("u", "1", 4.0, 1), ("u", "x1", 4.0, 2)))
