from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from configs.data import InteractionColumns
from preprocessing.interactions.reading import INTERACTION_SCHEMA
from preprocessing.interactions.sequences import order_interactions, ordered_by, without_repeated
from tests.preprocessing.interactions.made_interactions import changed, interaction_table

ROWS = [
    ("u2", "10", 1.0, 5),
    ("u10", "9", 2.0, 5),
    ("u2", "9", 3.0, 5),
    ("u2", "9", 3.5, 5),
    ("u2", "2", 4.0, -1),
    ("u2", "9", 4.5, 5),
]


def test_order_is_by_user_time_and_number_of_the_item():
    sequences, dead_letters = order_interactions(
        interaction_table(*ROWS), ["file.csv"], integer_items=True
    )
    rows = np.arange(4)
    assert sequences.users == ["u10", "u2"]
    assert sequences.items_at(rows) == ["9", "2", "9", "10"]
    assert sequences.item_ids == ["10", "2", "9"]
    assert sequences.ratings.tolist() == [2.0, 4.0, 3.0, 1.0]
    assert sequences.labels.tolist() == [0, 1, 0, 0]
    assert sequences.timestamps.tolist() == [5, -1, 5, 5]
    assert sequences.user_of_row.tolist() == [0, 1, 1, 1]
    assert sequences.starts.tolist() == [0, 1]
    assert sequences.counts.tolist() == [1, 3]
    assert sequences.positions.tolist() == [0, 0, 1, 2]
    assert [(letter["line"], letter["detail"]) for letter in dead_letters] == [
        (5, "same user, item and time as line 4"),
        (7, "same user, item and time as line 4"),
    ]


def test_items_that_are_no_numbers_are_in_text_order():
    sequences, _ = order_interactions(interaction_table(*ROWS), ["f"], integer_items=False)
    assert sequences.items_at(np.arange(4)) == ["9", "2", "10", "9"]


def test_ids_of_one_number_are_in_text_order():
    table = interaction_table(*[("u", item, 1.0, 5) for item in ("7", "10", "07", "-3")])
    sequences, dead_letters = order_interactions(table, ["f"], integer_items=True)
    assert sequences.items_at(np.arange(4)) == ["-3", "07", "7", "10"]
    assert dead_letters == []


def test_an_order_column_goes_before_the_time():
    table = interaction_table(("u", "a", 1.0, 30), ("u", "b", 2.0, 20), ("u", "a", 3.0, 10))
    table = changed(table, order=[1.5, 0.5, 1.5])
    sequences, dead_letters = order_interactions(table, ["f"], False, order="order")
    assert sequences.items_at(np.arange(2)) == ["b", "a"]
    assert sequences.timestamps.tolist() == [20, 30]
    assert dead_letters[0]["detail"] == "same user, item and order as line 2"


def test_without_time_and_order_rows_keep_their_order_and_none_is_a_repetition():
    rows = [("u", "b", 1.0, 0), ("u", "a", 2.0, 0), ("u", "b", 3.0, 0), ("t", "b", 4.0, 0)]
    table = changed(interaction_table(*rows), file=[1, 0, 0, 0], line=[2, 9, 3, 4])
    sequences, dead_letters = order_interactions(table, ["f", "g"], True, order=None)
    assert sequences.ratings.tolist() == [4.0, 3.0, 2.0, 1.0]
    assert dead_letters == []


def test_a_repetition_in_another_file_names_the_file():
    table = changed(
        interaction_table(("u", "a", 1.0, 5), ("u", "a", 2.0, 5)), file=[1, 0], line=[2, 7]
    )
    sequences, (letter,) = order_interactions(table, ["one.csv", "two.csv"], integer_items=False)
    assert sequences.ratings.tolist() == [2.0]
    assert (letter["file"], letter["line"]) == ("two.csv", 2)
    assert letter["detail"] == "same user, item and time as line 7 of one.csv"


def test_the_table_without_repeated_rows_is_sorted_by_user():
    table, dead_letters = without_repeated(interaction_table(*ROWS), ["f"], "time")
    assert table["user"].to_pylist() == ["u10", "u2", "u2", "u2"]
    assert sorted(table["line"].to_pylist()) == [2, 3, 4, 6]
    assert [letter["line"] for letter in dead_letters] == [5, 7]
    assert without_repeated(interaction_table(*ROWS), ["f"], None)[0].num_rows == 6


def test_no_interactions():
    sequences, dead_letters = order_interactions(
        INTERACTION_SCHEMA.empty_table(), ["f"], integer_items=True
    )
    assert sequences.users == [] and sequences.item_ids == [] and dead_letters == []
    assert len(sequences.positions) == 0


@pytest.mark.parametrize("integer_items", [True, False])
def test_order_is_that_of_pandas(integer_items):
    random = np.random.default_rng(3)
    count = 2000
    frame = pd.DataFrame(
        {
            "user": random.integers(0, 40, count).astype(str),
            "item": random.integers(0, 60, count).astype(str),
            "rating": random.random(count),
            "label": 0,
            "order": random.integers(0, 90, count).astype(float),
            "timestamp": 1,
            "part": -1,
            "extra_labels": 0,
            "file": 0,
            "line": random.permutation(count),
        }
    )
    table = pa.Table.from_pandas(frame, INTERACTION_SCHEMA, preserve_index=False)
    sequences, dead_letters = order_interactions(table, ["f"], integer_items)
    frame["item_key"] = frame["item"].astype(int) if integer_items else frame["item"]
    frame = frame.sort_values(["user", "order", "item_key", "line"])
    kept = frame.drop_duplicates(["user", "order", "item"])
    assert sequences.ratings.tolist() == kept["rating"].tolist()
    assert sequences.items_at(np.arange(len(kept))) == kept["item"].tolist()
    assert sequences.positions.tolist() == kept.groupby("user").cumcount().tolist()
    rejected = frame.drop(kept.index)["line"].tolist()
    assert [letter["line"] for letter in dead_letters] == rejected and rejected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [({}, "time"), ({"order": "n"}, "order"), ({"timestamp": None}, None),
     ({"timestamp": None, "order": "n"}, "order")],
)  # fmt: skip
def test_what_orders_follows_from_the_columns(columns, expected):
    assert ordered_by(InteractionColumns(**columns)) == expected
