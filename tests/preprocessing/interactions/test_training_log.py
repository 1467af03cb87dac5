from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from preprocessing.beam_options import BeamOptions
from preprocessing.dead_letters import read_dead_letters
from preprocessing.interactions.reading import (
    has_integer_items,
    open_interactions,
    table_from_bytes,
)
from preprocessing.interactions.shard import LogPlan
from preprocessing.interactions.training_log import (
    collect_training_log,
    marked_interactions,
    read_training_log,
)
from preprocessing.interactions.transforms import rows_by_shard
from tests.preprocessing.interactions.synthetic_interactions import interaction_table, sequences_of
from tests.preprocessing.small_data import bucket_of

FIRST = [("b", "2", 3.0, 1), ("b", "1", 4.0, 2), ("d", "9", 1.0, 1)]
SECOND = [("a", "1", 5.0, 1), ("c", "3", 2.0, 1), ("a", "7", 2.5, 2)]


def marked(rows, training):
    return marked_interactions(sequences_of(interaction_table(*rows)), np.array(training))


def test_shards_become_one_log_with_the_users_in_order():
    tables = [marked(FIRST, [True, True, False]), marked(SECOND, [True, False, True])]
    for order in (tables, tables[::-1]):
        log = collect_training_log(order)
        assert log.users == ["a", "b", "c", "d"] and log.items == ["1", "2", "3", "7", "9"]
        # Rows of a shard are sorted by user, so c's stands last: a's second one is no training row.
        assert [log.users[user] for user in log.user_of_row] == ["a", "b", "b", "c"]
        assert [log.items[item] for item in log.item_of_row] == ["1", "2", "1", "3"]
        assert log.ratings.tolist() == [5.0, 3.0, 4.0, 2.0]
        assert log.user_of_row.dtype == log.item_of_row.dtype == np.int32


def test_nothing_at_all():
    log = collect_training_log([marked([], np.zeros(0, bool))])
    assert (log.users, log.items, len(log.ratings)) == ([], [], 0)
    assert collect_training_log([]).users == []


def test_shards_hold_all_rows_of_their_users():
    table = interaction_table(
        *((f"u{number % 7}", str(number), 4.0, number) for number in range(50))
    )
    rows = table.to_pylist()
    shard_of_row = [bucket_of(row["user"], "shard", 4) for row in rows]
    divided = {shard: table_from_bytes(part).to_pylist() for shard, part in rows_by_shard(table, 4)}
    assert divided == {
        shard: [row for row, own in zip(rows, shard_of_row, strict=True) if own == shard]
        for shard in sorted(set(shard_of_row))
    }
    assert [*divided] == sorted(divided) and not [*rows_by_shard(table.slice(0, 0), 4)]
    assert has_integer_items(table) and has_integer_items(table.slice(0, 0))
    assert not has_integer_items(interaction_table(("u", "1", 4.0, 1), ("u", "x1", 4.0, 2)))


def read(scenario, folder: Path, shards: int = 3):
    reader = open_interactions(scenario.data, scenario.split)
    plan = LogPlan(scenario.data, scenario.split, reader, shards, str(folder / f"scratch{shards}"))
    return read_training_log(plan, BeamOptions())


@pytest.mark.parametrize("shards", [1, 3])
def test_training_interactions_are_those_before_the_first_validation_sample(
    small_scenario, small_folder, shards
):
    result = read(small_scenario(), small_folder, shards)
    log = result.log
    assert log.users == ["ann", "bob", "eve"]
    actual = [
        (log.users[user], log.items[item], rating)
        for user, item, rating in zip(log.user_of_row, log.item_of_row, log.ratings, strict=True)
    ]
    assert actual == [
        ("ann", "7", 4.5), ("ann", "9", 3.5), ("ann", "10", 4.0), ("ann", "100", 2.0),
        ("ann", "5", 5.0), ("ann", "7", 1.0), ("ann", "12", 4.0), ("ann", "11", 0.5),
        ("ann", "9", 4.0), ("ann", "3", 3.0),
        ("bob", "100", 5.0), ("bob", "9", 2.5), ("bob", "10", 4.0), ("bob", "10", 3.0),
        ("eve", "9", 1.0),
    ]  # fmt: skip
    assert result.counts["training_interactions"] == len(actual)
    assert result.counts["rejected_by_reason"] == {"duplicate_interaction": 1}
    assert [letter["line"] for letter in read_dead_letters(result.dead_letters)] == [19]


def test_a_global_split_takes_what_lies_before_the_first_cut(small_scenario, small_folder):
    random = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "user_id": random.integers(0, 9, 300),
            "item_id": random.integers(0, 20, 300),
            "rating": 3.0,
            "timestamp": random.permutation(300) * 1200,
        }
    )
    frame.to_csv(small_folder / "interactions.csv", index=False)
    result = read(small_scenario(split__by="global_time"), small_folder)
    frame = frame.sort_values(["user_id", "timestamp"])
    size = frame.groupby("user_id")["item_id"].transform("size")
    samples = frame[frame.groupby("user_id").cumcount() >= np.minimum((size + 1) // 2, 2)]
    hours = np.sort(samples["timestamp"] // 3600)
    cut = (hours[int(np.ceil(0.8 * len(hours))) - 1] + 1) * 3600
    training = frame[frame["timestamp"] < cut]
    assert len(result.log.ratings) == len(training) < 300
    assert result.log.users == sorted(frame["user_id"].astype(str).unique())
    items = [result.log.items[item] for item in result.log.item_of_row]
    assert items == training.astype({"user_id": str})["item_id"].astype(str).tolist()


def test_what_the_filter_takes_out_is_not_there(small_scenario, small_folder):
    scenario = small_scenario(data__filter={"minimum_item_interactions": 2})
    result = read(scenario, small_folder)
    assert result.log.items == ["10", "100", "7", "9"]
    counts = result.counts
    assert (counts["records_in"], counts["dead_letters"]) == (18, 1)
    assert counts["records_out"] + counts["filtered_out"] == 17 and counts["filtered_out"] == 5
