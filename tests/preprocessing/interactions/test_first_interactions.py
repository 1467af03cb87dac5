from __future__ import annotations

import random
from collections import Counter

import pyarrow as pa
import pytest

from configs.data import Data, InteractionFilter, Split
from preprocessing.dead_letters import DeadLetter, DeadLetterRuns, read_dead_letters
from preprocessing.interactions import first_interactions
from preprocessing.interactions.first_interactions import InteractionShards, ShardFilter
from preprocessing.interactions.reading import open_interactions
from tests.preprocessing.small_data import INTERACTIONS


def shards_of(tmp_path, text: str, columns: dict | None = None, **settings) -> InteractionShards:
    path = tmp_path / "interactions.csv"
    path.write_text(text, encoding="utf-8")
    folder = tmp_path / "shards"
    folder.mkdir()
    data = Data.model_validate(
        {
            "interactions": {"path": str(path), "columns": columns or {}},
            "catalogue": {"path": "unused"},
            **settings,
        }
    )
    reader = open_interactions(data, Split())
    return InteractionShards(data, reader, folder, DeadLetterRuns(tmp_path / "rejected"))


def rejected(tmp_path, shards: InteractionShards) -> list[DeadLetter]:
    path = tmp_path / "dead_letters.jsonl"
    shards._dead_letters.write(path)
    return list(read_dead_letters(path))


def first_interactions_of_users(
    shards: InteractionShards, cap: int
) -> dict[str, list[tuple[str, float]]]:
    seen: dict[str, list[tuple[str, float]]] = {}
    for some in shards.first_interactions(cap):
        for user in some.users:
            assert user not in seen
            seen[user] = []
        for user, item, rating in zip(some.user_of_row, some.items, some.ratings, strict=True):
            seen[some.users[user]].append((item, float(rating)))
    return seen


def test_users_show_their_first_interactions_in_order(tmp_path):
    shards = shards_of(tmp_path, INTERACTIONS)
    assert shards.records == 18
    assert first_interactions_of_users(shards, 2) == {
        "ann": [("7", 4.5), ("9", 3.5)],
        "bob": [("100", 5.0), ("9", 2.5)],
        "eve": [("9", 1.0)],
    }
    assert [(letter["line"], letter["reason"]) for letter in rejected(tmp_path, shards)] == [
        (19, "duplicate_interaction")
    ]


def test_many_shards_show_the_same(tmp_path, monkeypatch):
    generator = random.Random(0)
    rows = [(f"u{generator.randrange(40)}", generator.randrange(500), time) for time in range(600)]
    generator.shuffle(rows)
    lines = "".join(f"{user},{item},3,{time}\n" for user, item, time in rows)
    monkeypatch.setattr(first_interactions, "_INPUT_BYTES_PER_SHARD", 1000)
    shards = shards_of(tmp_path, "user_id,item_id,rating,timestamp\n" + lines)
    assert len(list((tmp_path / "shards").iterdir())) > 5
    expected: dict[str, list[tuple[str, float]]] = {}
    for user, item, _ in sorted(rows, key=lambda row: row[2]):
        expected.setdefault(user, []).append((str(item), 3.0))
    for user, history in expected.items():
        expected[user] = history[: min((len(history) + 1) // 2, 7)]
    assert first_interactions_of_users(shards, 7) == expected


def test_no_interactions_and_no_knowledge_are_no_problem(tmp_path):
    shards = shards_of(tmp_path, "user_id,item_id,rating,timestamp\n")
    assert shards.records == 0 and first_interactions_of_users(shards, 5) == {}


def test_liked_is_what_the_label_says(tmp_path):
    columns = {"label": "y", "timestamp": None}
    shards = shards_of(tmp_path, "user_id,item_id,rating,y\nu,b,5,0\nu,a,1,1\nu,c,1,1\n", columns)
    (seen,) = shards.first_interactions(9)
    # in the order of the lines, for want of a time
    assert seen.items == ["b", "a"] and seen.ratings.tolist() == [5.0, 1.0]
    assert seen.liked.tolist() == [False, True]


@pytest.mark.parametrize("shard_bytes", [1000, 1 << 20])
def test_what_the_filter_leaves_out_counts_for_nothing(tmp_path, monkeypatch, shard_bytes):
    generator = random.Random(3)
    drawn = ((int(60 * generator.random() ** 2), generator.randrange(90)) for _ in range(900))
    rows = sorted({(f"u{user}", f"i{item}") for user, item in drawn})
    generator.shuffle(rows)
    lines = "".join(f"{user},{item},3,{time}\n" for time, (user, item) in enumerate(rows))
    lines += lines  # repeated lines help nobody over the minimum
    monkeypatch.setattr(first_interactions, "_INPUT_BYTES_PER_SHARD", shard_bytes)
    shards = shards_of(
        tmp_path,
        "user_id,item_id,rating,timestamp\n" + lines,
        filter={"minimum_user_interactions": 10, "minimum_item_interactions": 5},
    )
    left = rows
    while True:  # the definition of a core, without counting anything twice
        users, items = ([row[place] for row in left] for place in (0, 1))
        fewer = [row for row in left if users.count(row[0]) >= 10 and items.count(row[1]) >= 5]
        if fewer == left:
            break
        left = fewer
    assert 0 < len(left) < len(rows)
    expected: dict[str, list[tuple[str, float]]] = {}
    for user, item in left:
        expected.setdefault(user, []).append((item, 3.0))
    for user, history in expected.items():
        expected[user] = history[: (len(history) + 1) // 2]
    assert first_interactions_of_users(shards, 99) == expected
    assert len(rejected(tmp_path, shards)) == len(rows)
    assert sorted(shards.kept_items or []) == sorted({item for _, item in left})


def test_all_items_are_left_when_only_users_are_filtered(tmp_path):
    shards = shards_of(tmp_path, INTERACTIONS, filter={"minimum_user_interactions": 4})
    assert shards.kept_items is None
    assert sorted(first_interactions_of_users(shards, 9)) == ["ann", "bob"]


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
