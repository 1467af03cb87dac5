from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from configs.data import InteractionFilter
from preprocessing.interactions.k_core import (
    CodedShard,
    count_all,
    count_kept,
    find_kept_items,
    kept_rows,
)


def settings(users: int, items: int, repeat: bool = True) -> InteractionFilter:
    return InteractionFilter(
        minimum_user_interactions=users, minimum_item_interactions=items, repeat=repeat
    )


# user 0: items 0 1 2, user 1: items 0 0, user 2: nothing, user 3: items 1 3
SHARD = CodedShard(np.array([0, 1, 2, 0, 0, 1, 3], np.int32), np.array([3, 2, 0, 2]))


def test_users_need_enough_interactions_with_items_that_are_left():
    items = np.array([True, True, False, False])
    assert kept_rows(SHARD, items, settings(2, 1)).tolist() == [1, 1, 0, 1, 1, 0, 0]
    counts = count_kept(SHARD, items, settings(2, 1))
    assert counts.item_counts.tolist() == [3, 1, 0, 0]
    assert (counts.users, counts.interactions) == (2, 4)


def test_without_repeating_all_interactions_of_a_user_count():
    items = np.array([True, True, False, False])
    once = settings(2, 1, repeat=False)
    assert kept_rows(SHARD, items, once).tolist() == [1, 1, 0, 1, 1, 1, 0]
    assert count_kept(SHARD, items, once).users == 3


def test_everything_is_counted_at_first():
    counts = count_all(SHARD, 5)
    assert counts.item_counts.tolist() == [3, 2, 1, 1, 0]
    assert (counts.users, counts.interactions) == (3, 7)


def test_an_empty_shard_has_nothing_left():
    empty = CodedShard(np.zeros(0, np.int32), np.zeros(0, np.int64))
    counts = count_kept(empty, np.array([True]), settings(1, 1))
    assert counts.item_counts.tolist() == [0] and counts.users == 0
    assert count_all(empty, 0).interactions == 0


@pytest.mark.parametrize("minimum", [(1, 3), (3, 1), (3, 3), (5, 4), (40, 40)])
def test_repeated_rounds_end_at_the_k_core_of_pandas(minimum):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "user": np.sort((60 * random.random(400) ** 2).astype(int)),
            "item": (80 * random.random(400) ** 2).astype(int),
        }
    )
    shard = CodedShard(frame["item"].to_numpy(np.int32), np.bincount(frame["user"], minlength=60))
    wanted = settings(*minimum)
    kept = find_kept_items(
        count_all(shard, 80), lambda mask: count_kept(shard, mask, wanted), wanted
    )
    found = kept_rows(shard, kept.mask, wanted)

    core = frame
    while True:
        items = core.groupby("item")["user"].transform("size") >= minimum[1]
        smaller = core[items]
        smaller = smaller[smaller.groupby("user")["item"].transform("size") >= minimum[0]]
        if len(smaller) == len(core):
            break
        core = smaller
    assert np.flatnonzero(found).tolist() == core.index.tolist()
    assert 0 < len(core) < 400 or minimum == (40, 40)
    assert kept.unfiltered["interactions"] == 400
    assert kept.rounds[-1] == {
        "users": core["user"].nunique(),
        "items": core["item"].nunique(),
        "interactions": len(core),
    }


def test_without_repeating_one_round_is_enough():
    once = settings(2, 2, repeat=False)
    kept = find_kept_items(count_all(SHARD, 5), lambda mask: count_kept(SHARD, mask, once), once)
    assert kept.mask.tolist() == [True, True, False, False, False]
    assert kept.unfiltered == {"users": 3, "items": 4, "interactions": 7}
    assert kept.rounds == [{"users": 3, "items": 2, "interactions": 5}]
