from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from preprocessing.grouping import entities as module
from preprocessing.grouping.entities import KnownInteractions, fingerprints

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
        before, after = (fingerprints(kind, pa.array(ids), known(log)) for log in (ROWS, rows))
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
    everybody = fingerprints("liked", pa.array(USERS), known(ROWS))
    assert len(set(everybody.tolist())) == 4 and everybody[3] == 0
    some = fingerprints("disliked", pa.array(["eve", "ann"]), known(ROWS))
    assert some.tolist() == [everybody[2], everybody[0]]
    more_items = known(ROWS, ["a", *ITEMS])
    assert fingerprints("liked", pa.array(USERS), more_items).tolist() == everybody.tolist()


def test_the_size_of_the_pieces_makes_no_difference(monkeypatch):
    whole = fingerprints("item", pa.array(ITEMS), known(ROWS))
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 3)
    assert fingerprints("item", pa.array(ITEMS), known(ROWS)).tolist() == whole.tolist()
