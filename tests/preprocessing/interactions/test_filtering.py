from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from configs.command_line import CommandError
from preprocessing.examples import build_examples
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.tfrecord_file import read_records
from preprocessing.records.wire import decode_example

PARTS = ("train", "validation", "test")


def made_up_log() -> pd.DataFrame:
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


def k_core(log: pd.DataFrame, users: int, items: int) -> pd.DataFrame:
    while True:
        size = len(log)
        log = log[log.groupby("user_id")["item_id"].transform("size") >= users]
        log = log[log.groupby("item_id")["user_id"].transform("size") >= items]
        if len(log) == size:
            return log


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
    log = made_up_log()
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
    found = written_examples(scenario)
    keyed = {(row["user_id"][0], row["position"][0]): row for row in found}
    assert len(keyed) == len(found)
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


def test_a_filter_that_leaves_nothing_is_refused(small_scenario):
    scenario = small_scenario(data__filter=minimum(100, 100))
    message = r"no sample is left: of 18 interactions 17 were filtered out .*, 1 rejected"
    with pytest.raises(CommandError, match=message):
        build_examples(scenario)
    assert not WorkDirectory(scenario.work_dir).examples.path.exists()


def test_sampled_items_are_left_by_the_filter_too(small_scenario, small_folder):
    """An item that fell out is no item the user never met: it may be one the user has met."""
    log = made_up_log()
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
