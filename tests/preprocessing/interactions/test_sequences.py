from __future__ import annotations

import pyarrow as pa

from preprocessing.interactions.reading import INTERACTION_SCHEMA
from preprocessing.interactions.sequences import order_interactions


def table(*rows: tuple[str, str, float, int, int]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [[]] * 5
    return pa.table([list(column) for column in columns], schema=INTERACTION_SCHEMA)


ROWS = [
    ("u2", "10", 1.0, 5, 2),
    ("u10", "9", 2.0, 5, 3),
    ("u2", "9", 3.0, 5, 4),
    ("u2", "9", 3.5, 5, 5),
    ("u2", "2", 4.0, -1, 6),
    ("u2", "9", 4.5, 5, 7),
]


def test_order_is_by_user_time_and_number_of_the_item():
    sequences, dead_letters = order_interactions(table(*ROWS), "file.csv", integer_items=True)
    assert sequences.users == ["u10", "u2"]
    assert sequences.items == ["9", "2", "9", "10"]
    assert sequences.ratings.tolist() == [2.0, 4.0, 3.0, 1.0]
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
    sequences, _ = order_interactions(table(*ROWS), "file.csv", integer_items=False)
    assert sequences.items == ["9", "2", "10", "9"]


def test_no_interactions():
    sequences, dead_letters = order_interactions(
        INTERACTION_SCHEMA.empty_table(), "file.csv", integer_items=True
    )
    assert sequences.users == [] and sequences.items == [] and dead_letters == []
    assert len(sequences.positions) == 0
