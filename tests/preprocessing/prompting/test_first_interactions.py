from __future__ import annotations

import random

import pytest

from configs.loading import ConfigurationError
from configs.scenario import InteractionColumns, Interactions
from preprocessing.prompting import first_interactions
from preprocessing.prompting.first_interactions import InteractionShards, interactions_header
from tests.preprocessing.small_data import INTERACTIONS


def shards_of(tmp_path, text: str) -> InteractionShards:
    path = tmp_path / "interactions.csv"
    path.write_text(text, encoding="utf-8")
    folder = tmp_path / "shards"
    folder.mkdir()
    interactions = Interactions(path=str(path))
    return InteractionShards(interactions, interactions_header(interactions), folder)


def by_user(shards: InteractionShards, cap: int) -> dict[str, list[tuple[str, float]]]:
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
    assert by_user(shards, 2) == {
        "ann": [("7", 4.5), ("9", 3.5)],
        "bob": [("100", 5.0), ("9", 2.5)],
        "eve": [("9", 1.0)],
    }
    assert [(letter["line"], letter["reason"]) for letter in shards.dead_letters] == [
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
    assert by_user(shards, 7) == expected


def test_no_interactions_and_no_knowledge_are_no_problem(tmp_path):
    shards = shards_of(tmp_path, "user_id,item_id,rating,timestamp\n")
    assert shards.records == 0 and by_user(shards, 5) == {}


def test_missing_columns_are_named(tmp_path):
    path = tmp_path / "interactions.csv"
    path.write_text(INTERACTIONS, encoding="utf-8")
    columns = InteractionColumns(user="who")
    with pytest.raises(ConfigurationError, match="data.interactions.columns.user.*'who'"):
        interactions_header(Interactions(path=str(path), columns=columns))
