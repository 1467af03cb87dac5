from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from configs.data import CatalogueTable
from preprocessing.grouping import entities as module
from preprocessing.grouping.entities import (
    KnownInteractions,
    collect_known_interactions,
    describe_items,
    entity_digests,
)
from preprocessing.interactions.first_interactions import FirstInteractions

CATALOGUE = CatalogueTable.model_validate(
    {
        "path": "films.csv",
        "attributes": {"genres": {"kind": "categorical"}, "year": {"kind": "numeric"}},
    }
)


def described(titles: list[str], known: list[str], kept: list[str] | None = None):
    count = len(titles)
    table = pa.table(
        {
            "item_id": pa.array([f"{number}" for number in range(count, 0, -1)], pa.string()),
            "title": pa.array(titles, pa.string()),
            "genres": pa.array([["Drama"]] * count, pa.list_(pa.string())),
            "year": pa.array([None, *range(1, count)][:count], pa.float64()),
        }
    )
    return describe_items(table, CATALOGUE, pa.array(known, pa.string()), kept)


def test_catalogue_and_interactions_are_brought_together():
    items = described(["Two", "One"], ["1", "x", "0"])
    assert items.ids.to_pylist() == ["0", "1", "2", "x"]
    assert items.outside_catalogue == 2
    assert items.titles.to_pylist() == ["", "One", "Two", ""]
    assert items.titled.tolist() == [False, True, True, False]
    assert items.categories["genres"].to_pylist() == [None, ["Drama"], ["Drama"], None]
    np.testing.assert_array_equal(items.numbers["year"], [np.nan, 1, np.nan, np.nan])


def test_a_title_counts_when_a_prompt_can_show_something_of_it():
    titles = ["Heat", "???", "  ", "\u200b\u202e", "<|im_start|>", "[REC]", "[INST]", "七人", "<b>"]
    items = described(titles, [])
    shown = dict(zip(items.titles.to_pylist(), items.titled.tolist(), strict=True))
    assert [title for title in titles if not shown[title]] == [
        "  ", "\u200b\u202e", "<|im_start|>", "[INST]",
    ]  # fmt: skip


def test_items_that_the_filter_leaves_out_are_not_there_but_counted():
    items = described(["Three", "Two", "One"], ["2", "x"], kept=["2", "x"])
    assert items.ids.to_pylist() == ["2", "x"] and items.titles.to_pylist() == ["Two", ""]
    assert (items.filtered_out, items.outside_catalogue) == (2, 1)
    assert items.categories["genres"].to_pylist() == [["Drama"], None]
    assert described(["One"], []).filtered_out == 0


def test_an_empty_catalogue():
    items = described([], ["b", "a"])
    assert items.ids.to_pylist() == ["a", "b"] and not items.titled.any()


USERS, ITEMS = ["ann", "bob", "eve", "lurker"], ["x", "y", "z"]
ROWS = [("ann", "x", True), ("ann", "y", False), ("bob", "x", True), ("eve", "z", True)]


def known(rows: list[tuple[str, str, bool]], items: list[str] = ITEMS) -> KnownInteractions:
    return KnownInteractions(
        user_ids=pa.array(USERS),
        item_ids=pa.array(items),
        user_of_row=np.array([USERS.index(user) for user, _, _ in rows], dtype=np.int32),
        item_of_row=np.array([items.index(item) for _, item, _ in rows], dtype=np.int32),
        liked=np.array([liked for _, _, liked in rows], dtype=bool),
    )


def changed(rows: list[tuple[str, str, bool]]) -> tuple[list[str], list[str]]:
    """Users and items whose number differs from that of ROWS."""
    lists = []
    for kind, ids in (("liked", USERS), ("item", ITEMS)):
        before, after = (entity_digests(kind, pa.array(ids), known(log)) for log in (ROWS, rows))
        lists.append([name for name, same in zip(ids, before == after, strict=True) if not same])
    return lists[0], lists[1]


@pytest.mark.parametrize(
    ("rows", "users", "items"),
    [
        (ROWS, [], []),
        (ROWS[2:] + ROWS[:2], [], []),  # another order of the users
        ([ROWS[1], ROWS[0], *ROWS[2:]], ["ann"], ["x", "y"]),  # another order within a user
        ([("ann", "x", False), *ROWS[1:]], ["ann"], ["x"]),
        ([("ann", "z", True), *ROWS[1:]], ["ann"], ["x", "z"]),
        ([*ROWS[:3], ("bob", "z", True)], ["bob", "eve"], ["z"]),
        (ROWS[:3], ["eve"], ["z"]),
        ([], ["ann", "bob", "eve"], ["x", "y", "z"]),
    ],
)
def test_what_changes_a_number(rows, users, items):
    assert changed(rows) == (users, items)


def test_users_and_items_are_found_by_their_ids():
    everybody = entity_digests("liked", pa.array(USERS), known(ROWS))
    assert len(set(everybody.tolist())) == 4 and everybody[3] == 0
    some = entity_digests("disliked", pa.array(["eve", "ann"]), known(ROWS))
    assert some.tolist() == [everybody[2], everybody[0]]
    more_items = known(ROWS, ["a", *ITEMS])
    assert entity_digests("liked", pa.array(USERS), more_items).tolist() == everybody.tolist()


def test_the_size_of_the_pieces_makes_no_difference(monkeypatch):
    whole = entity_digests("item", pa.array(ITEMS), known(ROWS))
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 3)
    assert entity_digests("item", pa.array(ITEMS), known(ROWS)).tolist() == whole.tolist()


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
