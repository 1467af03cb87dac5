from __future__ import annotations

import datetime

import pyarrow as pa
import pytest

from configs.data import Data, Split
from configs.loading import ConfigurationError
from preprocessing.dead_letters import dead_letter
from preprocessing.interactions.reading import FILE_COLUMN as FILE
from preprocessing.interactions.reading import (
    INTERACTION_SCHEMA,
    PLACE,
    by_reason,
    concatenate,
    first_rows,
    open_interactions,
    parse_interactions,
    repeated_row,
    table_from_bytes,
    table_to_bytes,
)
from preprocessing.interactions.reading import LINE_COLUMN as LINE
from tests.preprocessing.tables.tables_on_disk import csv_block, typed_block

NO_TIME = {"timestamp": None}


def data(columns: dict[str, str | None] | None = None, **settings) -> Data:
    positive_rating = settings.pop("positive_rating", 4.0)
    labels = settings.pop("labels", {})
    interactions = {"path": "log.csv", "columns": columns or {}, **settings}
    return Data.model_validate(
        {
            "interactions": interactions,
            "catalogue": {"path": "items.csv"},
            "positive_rating": positive_rating,
            "labels": labels,
        }
    )


def parse(text: str, columns: dict[str, str | None] | None = None, **settings):
    """Rows as dictionaries, and (line, reason) of dead letters; the first line is the header."""
    header, _, lines = text.partition("\n")
    block = csv_block(header.split(","), lines.encode(), name="log.csv")
    table, letters = parse_interactions(block, data(columns, **settings))
    assert table.schema == INTERACTION_SCHEMA
    assert block.records == len(table) + len(letters)
    return table.to_pylist(), [(letter["line"], letter["reason"]) for letter in letters]


def test_columns_are_mapped_and_others_left_out():
    block = csv_block(
        ["when", "note", "who", "what", "stars"],
        b"7,x,5,film, 3.5 \n8,y,6,film2,oops\n9,z,6,film3,4\n",
        name="log.csv",
    )
    columns = {"user": "who", "item": "what", "rating": "stars", "timestamp": "when"}
    table, dead_letters = parse_interactions(block, data(columns))
    assert table.to_pylist() == [
        {
            "user": "5", "item": "film", "rating": 3.5, "label": 0, "order": 7.0, "timestamp": 7,
            "part": -1, "extra_labels": 0, "file": 0, "line": 2,
        },
        {
            "user": "6", "item": "film3", "rating": 4.0, "label": 1, "order": 9.0, "timestamp": 9,
            "part": -1, "extra_labels": 0, "file": 0, "line": 4,
        },
    ]  # fmt: skip
    assert dead_letters == [
        {
            "file": "log.csv",
            "line": 3,
            "reason": "unparsable_rating",
            "detail": "column 'stars': 'oops'",
        }
    ]


@pytest.mark.parametrize(
    ("text", "columns", "ratings", "labels"),
    [
        # rating alone: the threshold decides
        ("user_id,item_id,rating\nu,1,3.9\nu,2,4\nu,3,5\n", NO_TIME, [3.9, 4.0, 5.0], [0, 1, 1]),
        # label and rating: the label counts
        (
            "user_id,item_id,rating,y\nu,1,5,0\nu,2,1,1\n",
            {**NO_TIME, "label": "y"},
            [5.0, 1.0],
            [0, 1],
        ),
        # label alone is the rating too
        (
            "user_id,item_id,y\nu,1, True \nu,2,false\nu,3,1\nu,4,0\nu,5,1.0\n",
            {**NO_TIME, "label": "y", "rating": None},
            [1.0, 0.0, 1.0, 0.0, 1.0],
            [1, 0, 1, 0, 1],
        ),
        # neither: implicit feedback
        ("user_id,item_id\nu,1\nu,2\n", {**NO_TIME, "rating": None}, [1.0, 1.0], [1, 1]),
    ],
)
def test_labels_and_ratings(text, columns, ratings, labels):
    rows, letters = parse(text, columns)
    assert [row["rating"] for row in rows] == ratings
    assert [row["label"] for row in rows] == labels
    assert letters == []


def test_the_threshold_is_configured():
    rows, _ = parse("user_id,item_id,rating\nu,1,1\nu,2,2\n", NO_TIME, positive_rating=2.0)
    assert [row["label"] for row in rows] == [0, 1]


@pytest.mark.parametrize(
    ("unit", "text", "timestamp", "order"),
    [
        ("seconds", "12.75", 12, 12.75),
        ("milliseconds", "12750", 12, 12.75),
        ("microseconds", "-1", -1, -1e-6),
        ("iso", "1970-01-01T00:00:12.5Z", 12, 12.5),
    ],
)
def test_times_are_whole_seconds_and_order_keeps_their_parts(unit, text, timestamp, order):
    rows, letters = parse(
        f"user_id,item_id,rating,timestamp\nu,1,4,{text}\nu,2,4,noon\n", time_unit=unit
    )
    assert [(row["timestamp"], row["order"]) for row in rows] == [(timestamp, order)]
    assert letters == [(3, "unparsable_timestamp")]


def test_an_order_column_counts_more_than_the_time():
    rows, letters = parse(
        "user_id,item_id,rating,timestamp,n\nu,1,4,50,2.5\nu,2,4,40,x\nu,3,4,40,inf\n",
        {"order": "n"},
    )
    assert [(row["timestamp"], row["order"]) for row in rows] == [(50, 2.5)]
    assert letters == [(4, "non_finite_order"), (3, "unparsable_order")]


def test_without_time_and_order_file_and_line_are_all_there_is():
    rows, _ = parse("user_id,item_id,rating\nu,1,4\n\nu,2,4\n", NO_TIME)
    assert [(row["timestamp"], row["order"], row["line"]) for row in rows] == [
        (0, 0.0, 2),
        (0, 0.0, 4),
    ]


def test_parts_have_their_usual_names():
    names = ["train", " Validation ", "valid", "VAL", "dev", "eval", "test", "holdout", ""]
    lines = "".join(f"u,{number},4,{name}\n" for number, name in enumerate(names))
    rows, letters = parse("user_id,item_id,rating,split\n" + lines, {**NO_TIME, "part": "split"})
    assert [row["part"] for row in rows] == [0, 1, 1, 1, 1, 1, 2]
    assert letters == [(9, "unknown_part"), (10, "unknown_part")]


def test_every_bad_row_has_one_reason():
    rows, letters = parse(
        "user_id,item_id,rating,timestamp,y\n"
        "u,1,4,1,1\n"
        ",,x,x,x\n"
        "u, ,x,x,x\n"
        "u,1,nan,x,x\n"
        "u,1,1e999,1,1\n"
        "u,1,-1e39,1,1\n"
        "u,1,x,x,x\n"
        "u,1,4,x,yes\n"
        "u,1,4,x,1\n"
        "u,1,4\n"
        "u,1,1000001,1,1\n"
        "u,1,-1e7,1,1\n"
        "u,1,-1000000,1,1\n",
        {"label": "y"},
    )
    assert len(rows) == 2
    assert sorted(letters) == [
        (3, "missing_user_id"),
        (4, "missing_item_id"),
        (5, "non_finite_rating"),
        (6, "non_finite_rating"),
        (7, "non_finite_rating"),
        (8, "unparsable_rating"),
        (9, "unparsable_label"),
        (10, "unparsable_timestamp"),
        (11, "wrong_column_count"),
        (12, "excessive_rating"),
        (13, "excessive_rating"),
    ]


def test_times_are_within_the_years_of_a_calendar():
    times = [-62_135_596_801, -62_135_596_800, 253_402_300_799, 253_402_300_800, 1_600_000_000_000]
    lines = "".join(f"u,{number},4,{time}\n" for number, time in enumerate(times))
    rows, letters = parse("user_id,item_id,rating,timestamp\n" + lines)
    assert [row["timestamp"] for row in rows] == times[1:3]
    assert letters == [(line, "unparsable_timestamp") for line in (2, 5, 6)]


def test_typed_columns_keep_ids_and_times_exactly():
    times = pa.array([datetime.datetime(2020, 1, 1), None], pa.timestamp("us"))
    block = typed_block(
        pa.table(
            {
                "user_id": pa.array([9007199254740993, 2]),
                "item_id": pa.array([7.0, 8.0]),
                "rating": pa.array([4.5, 3.0], pa.float32()),
                "timestamp": times,
            }
        )
    )
    table, letters = parse_interactions(block, data(time_unit="milliseconds"))
    (row,) = table.to_pylist()
    assert (row["user"], row["item"], row["rating"]) == ("9007199254740993", "7", 4.5)
    assert row["timestamp"] == 1577836800
    assert [(letter["line"], letter["reason"]) for letter in letters] == [
        (2, "unparsable_timestamp")
    ]


def test_ids_that_cannot_stand_on_a_line_are_rejected():
    block = typed_block(pa.table({"user_id": ["a\nb", "c"], "item_id": ["x", "y\r"]}))
    table, letters = parse_interactions(block, data({"rating": None, "timestamp": None}))
    assert len(table) == 0
    assert [letter["reason"] for letter in letters] == [
        "line_break_in_user_id",
        "line_break_in_item_id",
    ]


def data_at(tmp_path, text: str, **columns: str | None) -> Data:
    path = tmp_path / "log.csv"
    path.write_text(text)
    return data(dict(columns), path=str(path))


def test_only_mapped_columns_are_needed(tmp_path):
    log = data_at(tmp_path, "user_id,item_id\n", rating=None, timestamp=None)
    assert open_interactions(log, Split()).columns == ("user_id", "item_id")


def test_wrong_columns_are_explained(tmp_path):
    with pytest.raises(
        ConfigurationError,
        match="columns.timestamp: .* has no column 'timestamp'.*"
        "Write 'data.interactions.columns.timestamp: null' if there is none",
    ):
        open_interactions(data_at(tmp_path, "user_id,item_id,rating\n"), Split())
    with pytest.raises(ConfigurationError, match="columns.user: .*'who'. Its columns: [a-z_,]*"):
        open_interactions(data_at(tmp_path, "user_id,item_id\n", user="who"), Split())
    with pytest.raises(ConfigurationError, match="columns.part: .*no column 'fold'"):
        log = data_at(tmp_path, "user_id,item_id,rating,timestamp\n", part="fold")
        open_interactions(log, Split(by="column"))
    with pytest.raises(ConfigurationError, match="columns.part: 'split.by: column' needs it"):
        log = data_at(tmp_path, "user_id,item_id,rating,timestamp\n")
        open_interactions(log, Split(by="column"))


LABELS = {"finished": {"column": "seen"}, "loved": {"minimum_rating": 5}}


def test_extra_labels_are_bits_in_the_order_of_the_configuration():
    rows, letters = parse(
        "user_id,item_id,rating,seen\na,1,5,1\na,2,5,false\na,3,4.5,TRUE\na,4,2,0\n",
        NO_TIME,
        labels=LABELS,
    )
    assert [row["extra_labels"] for row in rows] == [0b11, 0b10, 0b01, 0b00]
    assert not letters


def test_an_extra_label_that_is_neither_0_nor_1_is_rejected_like_a_label():
    rows, letters = parse(
        "user_id,item_id,rating,seen\na,1,5,yes\na,2,5,1\na,3,oops,2\na,4,5,\n",
        NO_TIME,
        labels=LABELS,
    )
    assert [row["item"] for row in rows] == ["2"]
    assert sorted(letters) == [
        (2, "unparsable_label"),
        (4, "unparsable_rating"),
        (5, "unparsable_label"),
    ]


def test_the_column_of_an_extra_label_is_one_of_the_log(tmp_path):
    log = data_at(tmp_path, "user_id,item_id,rating,seen\n", timestamp=None)
    wanted = log.model_copy(update={"labels": data(labels=LABELS).labels})
    assert open_interactions(wanted, Split()).columns == ("user_id", "item_id", "rating", "seen")
    lacking = data_at(tmp_path, "user_id,item_id,rating\n", timestamp=None)
    with pytest.raises(ConfigurationError, match=r"data.labels.finished.column: .*column 'seen'"):
        open_interactions(lacking.model_copy(update={"labels": wanted.labels}), Split())


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


def test_dead_letters_are_counted_by_reason():
    letters = [dead_letter("log.csv", line, f"reason{line % 2}", "") for line in range(5)]
    assert by_reason(letters) == {"reason0": 3, "reason1": 2}
    assert by_reason([]) == {}


def test_tables_survive_and_add_up():
    table = pa.table({"id": ["a", "ß"], "number": pa.array([1, None], pa.int64())})
    assert table_from_bytes(table_to_bytes(table)).equals(table)
    parts = [table_to_bytes(table), table_to_bytes(table.slice(0, 0)), table_to_bytes(table)]
    assert concatenate(parts, table.schema).to_pylist() == table.to_pylist() * 2
    assert concatenate([], table.schema).equals(table.slice(0, 0))
