from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.data import InteractionFilter
from preprocessing import storage
from preprocessing.examples import build_examples
from preprocessing.interactions.k_core import (
    CodedShard,
    FilterFiles,
    KeptCounts,
    add_up,
    count_kept,
    find_kept_items,
    kept_rows,
    read_coded,
    read_counts,
    read_kept_items,
    read_table,
    write_coded,
    write_counts,
    write_kept_items,
    write_table,
)
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.tfrecord_file import read_records
from preprocessing.records.wire import decode_example
from tests.preprocessing import shared_file_system


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


def k_core(log: pd.DataFrame, users: int, items: int) -> pd.DataFrame:
    while True:
        size = len(log)
        log = log[log.groupby("user_id")["item_id"].transform("size") >= users]
        log = log[log.groupby("item_id")["user_id"].transform("size") >= items]
        if len(log) == size:
            return log


LEAST = st.integers(1, 5)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 8)), max_size=60), LEAST, LEAST, LEAST)
def test_repeated_rounds_end_at_the_k_core_of_pandas(pairs, users, items, shards) -> None:
    log = pd.DataFrame(sorted(pairs), columns=["user_id", "item_id"], dtype=int)
    parts = [log[log["user_id"] % shards == shard] for shard in range(shards)]
    coded = [
        CodedShard(part["item_id"].to_numpy(np.int32), np.bincount(part["user_id"], minlength=8))
        for part in parts
    ]
    wanted = settings(users, items)

    kept = find_kept_items(
        lambda mask, least: add_up(count_kept(shard, mask, least) for shard in coded), 9, wanted
    )
    core = k_core(log, users, items)
    for part, shard in zip(parts, coded, strict=True):
        left = part.index[kept_rows(shard, kept.mask, wanted)]
        assert left.tolist() == [row for row in part.index if row in core.index]
    for counts, rows in ((kept.unfiltered, log), (kept.rounds[-1], core)):
        assert counts == {
            "users": rows["user_id"].nunique(),
            "items": rows["item_id"].nunique(),
            "interactions": len(rows),
        }


def test_without_repeating_one_round_is_enough():
    once = settings(2, 2, repeat=False)
    kept = find_kept_items(lambda mask, least: count_kept(SHARD, mask, least), 5, once)
    assert kept.mask.tolist() == [True, True, False, False, False]
    assert kept.unfiltered == {"users": 3, "items": 4, "interactions": 7}
    assert kept.rounds == [{"users": 3, "items": 2, "interactions": 5}]


@pytest.mark.parametrize("local", [True, False])
def test_what_is_written_is_read_back(tmp_path, monkeypatch, local):
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(tmp_path))
    files = FilterFiles(str(tmp_path / "folder") if local else "shared://folder")
    mask = np.array([True, False, True] * 7)
    write_kept_items(files, mask)
    assert read_kept_items(files).tolist() == mask.tolist()
    write_coded(files, 3, CodedShard(np.array([5, 2], np.int32), np.array([2, 0])))
    coded = read_coded(files, 3)
    assert coded.items.dtype == np.int32 and coded.items.tolist() == [5, 2]
    assert coded.counts.tolist() == [2, 0]
    write_counts(files, KeptCounts(np.array([4, 0]), users=2))
    assert (read_counts(files).item_counts.tolist(), read_counts(files).users) == ([4, 0], 2)
    write_table(files.items, pa.table({"item": ["a", "b"]}))
    assert read_table(files.items)["item"].to_pylist() == ["a", "b"]
    assert len(storage.files_below(files.folder)) == 4


def test_no_items(tmp_path):
    files = FilterFiles(str(tmp_path))
    write_kept_items(files, np.zeros(0, bool))
    assert read_kept_items(files).tolist() == []


PARTS = ("train", "validation", "test")


def synthetic_log() -> pd.DataFrame:
    random = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "user_id": (120 * random.random(1500) ** 2).astype(int),
            "item_id": (90 * random.random(1500) ** 2).astype(int),
            "rating": random.integers(1, 11, 1500) / 2,
            "timestamp": random.integers(0, 10**6, 1500),
        }
    )
    return frame.drop_duplicates(["user_id", "item_id", "timestamp"])


def once(log: pd.DataFrame, users: int, items: int) -> pd.DataFrame:
    enough_of_user = log.groupby("user_id")["item_id"].transform("size") >= users
    enough_of_item = log.groupby("item_id")["user_id"].transform("size") >= items
    return log[enough_of_user & enough_of_item]


def written_examples(scenario) -> list[dict]:
    directory = WorkDirectory(scenario.work_dir).examples
    return [
        decode_example(record)
        for part in PARTS
        for path in directory.shards(part)
        for record in read_records(path)
    ]


def minimum(users: int, items: int, repeat: bool = True) -> dict[str, object]:
    return {
        "minimum_user_interactions": users,
        "minimum_item_interactions": items,
        "repeat": repeat,
    }


@pytest.mark.parametrize("repeat", [True, False])
def test_what_is_left_is_what_pandas_leaves(small_scenario, small_folder, repeat):
    log = synthetic_log()
    path = small_folder / "interactions.csv"
    pd.concat([log, log.iloc[:1]]).to_csv(path, index=False)
    with path.open("a") as file:
        file.write("5,5,bad,5\n")
    scenario = small_scenario(
        data__filter=minimum(9, 7, repeat),
        data__history_length=1000,
        split__knowledge_history_cap=0,
    )
    result = build_examples(scenario)
    left = (k_core if repeat else once)(log, 9, 7)
    assert 0 < len(left) < len(log)
    assert result["records_in"] == len(log) + 2
    assert result["dead_letters"] == 2
    assert result["filtered_out"] == len(log) - len(left)
    assert result["records_out"] == result["samples"] == len(left)
    assert result["users"] == left["user_id"].nunique()

    left = left.sort_values(["user_id", "timestamp", "item_id"])
    position = left.groupby("user_id").cumcount()
    expected = {
        (str(user).encode(), place): (str(item).encode(), rating)
        for user, place, item, rating in zip(
            left["user_id"], position, left["item_id"], left["rating"], strict=True
        )
    }
    actual = written_examples(scenario)
    keyed = {(row["user_id"][0], row["position"][0]): row for row in actual}
    assert len(keyed) == len(actual)
    assert {key: (row["item_id"][0], row["rating"][0]) for key, row in keyed.items()} == expected
    for (user, place), row in keyed.items():
        assert row["history_item_id"] == [expected[user, before][0] for before in range(place)]

    manifest = json.loads(WorkDirectory(scenario.work_dir).examples.manifest.read_text())
    described = manifest["filter"]
    assert described["unfiltered"] == {
        "users": log["user_id"].nunique(),
        "items": log["item_id"].nunique(),
        "interactions": len(log),
    }
    assert (
        described["left"]
        == described["rounds"][-1]
        == {
            "users": left["user_id"].nunique(),
            "items": left["item_id"].nunique(),
            "interactions": len(left),
        }
    )
    assert (len(described["rounds"]) > 1) == repeat


def test_sampled_items_are_left_by_the_filter_too(small_scenario, small_folder):
    """An item that fell out is no item the user never met: it may be one the user has met."""
    log = synthetic_log()
    log.to_csv(small_folder / "interactions.csv", index=False)
    scenario = small_scenario(data__filter=minimum(9, 7), data__negatives={"per_positive": 3})
    result = build_examples(scenario)
    left = k_core(log, 9, 7)
    sampled = {int(row["item_id"][0]) for row in written_examples(scenario) if row["rating"] == 0}
    assert result["sampled_negatives"] > 50 and sampled <= set(left["item_id"])


def test_the_filter_comes_before_k_u(small_scenario, small_folder):
    lines = [f"u,{item},5,{item}" for item in range(7, 13)] + ["v,7,5,0", "v,8,5,1"]
    (small_folder / "interactions.csv").write_text(
        "\n".join(["user_id,item_id,rating,timestamp", *lines])
    )
    scenario = small_scenario(data__filter=minimum(1, 2), split__knowledge_history_cap=30)
    result = build_examples(scenario)
    # u keeps items 7 and 8, as v does: k_u is 1 for both, not 3
    assert result["filtered_out"] == 4
    assert (result["history_only"], result["samples"]) == (2, 2)
    assert {row["position"][0] for row in written_examples(scenario)} == {1}
