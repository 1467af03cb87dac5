from __future__ import annotations

import pyarrow as pa

from preprocessing.interactions.reading import FILE_COLUMN as FILE
from preprocessing.interactions.reading import LINE_COLUMN as LINE
from preprocessing.interactions.reading import PLACE, first_rows, repeated_row

SCHEMA = pa.schema({"id": pa.string(), "x": pa.int64()} | PLACE)
FILES = ["a.csv", "b.csv"]


def table(*rows: tuple[str, int, int, int]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"id": name, "x": x, FILE: file, LINE: line} for name, x, file, line in rows], SCHEMA
    )


def test_the_first_row_of_the_first_file_counts_whatever_came_first():
    tables = [table(("p", 1, 1, 2), ("q", 2, 0, 9)), table(("p", 3, 0, 5), ("p", 4, 0, 3))]
    kept, letters = first_rows(tables, SCHEMA, "id", "item", FILES)
    assert list(zip(kept["id"].to_pylist(), kept["x"].to_pylist(), strict=True)) == [
        ("p", 4),
        ("q", 2),
    ]
    assert letters == [
        {"file": "a.csv", "line": 5, "reason": "duplicate_item", "detail": "same item as line 3"},
        {
            "file": "b.csv",
            "line": 2,
            "reason": "duplicate_item",
            "detail": "same item as line 3 of a.csv",
        },
    ]


def test_no_rows():
    kept, letters = first_rows([], SCHEMA, "id", "item", FILES)
    assert kept.schema == SCHEMA and len(kept) == 0 and letters == []


def test_a_repeated_row_names_the_earlier_one():
    letter = repeated_row("user", (1, 7), (0, 2), FILES)
    assert letter["reason"] == "duplicate_user" and letter["file"] == "b.csv"
    assert letter["detail"] == "same user as line 2 of a.csv"
