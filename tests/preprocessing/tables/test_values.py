from __future__ import annotations

import datetime
import decimal
import math

import numpy as np
import pyarrow as pa
import pytest

from preprocessing.tables.ids import breaks_line, usable_ids
from preprocessing.tables.values import (
    fractional_seconds_of,
    is_blank,
    is_readable,
    lists_from_rows,
    lists_of,
    names_no_finite_number,
    number_text,
    numbers_of,
    parse_integers,
    parse_numbers,
    seconds_of,
    texts_of,
)
from tests.preprocessing.tables.tables_on_disk import typed_block


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4", 4.0), ("-4.5", -4.5), ("+4", 4.0), (".5", 0.5), ("5.", 5.0), ("1e-3", 0.001),
        ("1e999", math.inf), ("", None), ("4,5", None), ("0x1F", None), ("1_000", None),
        ("nan", None), ("four", None), ("--4", None), ("4 5", None), (".", None), ("e5", None),
    ],
)  # fmt: skip
def test_texts_as_numbers(text, number):
    assert parse_numbers(pa.chunked_array([[text]])).to_pylist() == [number]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("-12", -12), ("007", 7), ("999999999999999999", 999999999999999999),
        ("", None), ("1.0", None), ("0x1F", None), ("1e5", None), ("9999999999999999999", None),
    ],
)  # fmt: skip
def test_integers(text, number):
    assert parse_integers(pa.chunked_array([[text]])).to_pylist() == [number]


def test_names_of_what_is_no_finite_number():
    texts = pa.chunked_array([["NaN", "-inf", "+Infinity", "info", "", "1"]])
    assert names_no_finite_number(texts).to_pylist() == [True, True, True, False, False, False]


def column(values: list, found: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, found)])


@pytest.mark.parametrize(
    ("unit", "text", "seconds"),
    [
        ("seconds", "978300760", 978300760),
        ("seconds", " 12 ", 12),
        ("seconds", "12.9", 12),
        ("seconds", "-12.1", -13),
        ("seconds", "-12.0", -12),
        ("seconds", "1.5e3", 1500),
        ("seconds", "999999999999999999", 999999999999999999),
        ("seconds", "", None),
        ("seconds", "noon", None),
        ("seconds", "nan", None),
        ("seconds", "2018-05-01", None),
        ("milliseconds", "1999", 1),
        ("milliseconds", "-1", -1),
        ("milliseconds", "-2000", -2),
        ("milliseconds", "1999.9", 1),
        ("microseconds", "1525177800123456", 1525177800),
        ("iso", "2018-05-01T12:30:00Z", 1525177800),
        ("iso", "2018-05-01 12:30:00.999", 1525177800),
        ("iso", "2018-05-01T12:30", 1525177800),
        ("iso", "2018-05-01", 1525132800),
        ("iso", "2018-05-01T12:30:00+02:00", 1525170600),
        ("iso", "2018-05-01T12:30:00-0130", 1525183200),
        ("iso", "1969-12-31T23:59:59.5", -1),
        ("iso", "2023-02-30", None),
        ("iso", "01.05.2018", None),
        ("iso", "1525177800", None),
    ],
)
def test_texts_as_times(unit, text, seconds):
    assert seconds_of(column([text]), unit).to_pylist() == [seconds]


def test_one_fraction_among_integers_changes_no_other():
    texts = ["-1500", "1999", "12.5", "-0.5"]
    assert seconds_of(column(texts), "milliseconds").to_pylist() == [-2, 1, 0, -1]
    assert seconds_of(column(texts[:2]), "milliseconds").to_pylist() == [-2, 1]


def test_a_date_that_does_not_exist_spoils_no_other():
    texts = ["2023-02-30T10:00:00", "2018-05-01T12:30:00", "2018-05-01T12:30:00Z", "", "x"]
    expected = [None, 1525177800, 1525177800, None, None]
    assert seconds_of(column(texts), "iso").to_pylist() == expected


@pytest.mark.parametrize(
    ("values", "found", "unit", "seconds"),
    [
        ([-1, 1999, None], pa.timestamp("ms"), "iso", [-1, 1, None]),
        (
            [1_500_000_000_123_456_789],
            pa.timestamp("ns", "Europe/Rome"),
            "seconds",
            [1_500_000_000],
        ),
        ([datetime.date(1970, 1, 3)], pa.date32(), "seconds", [172800]),
        ([datetime.date(1970, 1, 3)], pa.date64(), "seconds", [172800]),
        ([-1, 1999], pa.int64(), "milliseconds", [-1, 1]),
        ([7], pa.uint32(), "seconds", [7]),
        ([1999, 2**50], pa.uint64(), "milliseconds", [1, 1125899906842]),
        ([7, 2**64 - 1], pa.uint64(), "seconds", [7, None]),
        ([7], pa.int64(), "iso", [None]),
        ([-0.5, 1.9, float("nan"), float("inf")], pa.float64(), "seconds", [-1, 1, None, None]),
        (["5", "x"], pa.dictionary(pa.int8(), pa.string()), "seconds", [5, None]),
    ],
)
def test_typed_columns(values, found, unit, seconds):
    assert seconds_of(column(values, found), unit).to_pylist() == seconds


@pytest.mark.parametrize(
    ("values", "found", "unit", "seconds"),
    [
        (["1500", "-1"], pa.string(), "milliseconds", [1.5, -0.001]),
        (["12", "x"], pa.string(), "seconds", [12.0, None]),
        ([1500], pa.timestamp("ms"), "seconds", [1.5]),
        ([datetime.date(1970, 1, 3)], pa.date32(), "seconds", [172800.0]),
        (
            ["2018-05-01T12:30:00.25Z", "2018-05-01", "1969-12-31T23:59:59.5", "x"],
            pa.string(),
            "iso",
            [1525177800.25, 1525132800.0, -0.5, None],
        ),
    ],
)
def test_parts_of_a_second_are_kept_where_order_counts(values, found, unit, seconds):
    assert fractional_seconds_of(column(values, found), unit).to_pylist() == seconds


@pytest.mark.parametrize(
    ("values", "found", "texts"),
    [
        (["a", None], pa.string(), ["a", ""]),
        (["a", None], pa.large_string(), ["a", ""]),
        (["a", "b", "a"], pa.dictionary(pa.int8(), pa.string()), ["a", "b", "a"]),
        ([b"a", b"\xff\xfe", None], pa.binary(), ["a", "\\xff\\xfe", ""]),
        ([b"\x00\xff"], pa.binary(2), ["\x00\\xff"]),
        ([123, None, -7], pa.int64(), ["123", "", "-7"]),
        ([2**64 - 1], pa.uint64(), ["18446744073709551615"]),
        ([9007199254740993], pa.int64(), ["9007199254740993"]),
        ([5.0, 2.5, None, math.nan, -0.0, 1e20], pa.float64(), ["5", "2.5", "", "", "0", "1e+20"]),
        ([5.0, 0.1], pa.float32(), ["5", "0.1"]),
        ([True, False, None], pa.bool_(), ["true", "false", ""]),
        ([decimal.Decimal("1.50")], pa.decimal128(5, 2), ["1.50"]),
        ([datetime.date(2020, 1, 2)], pa.date32(), ["2020-01-02"]),
        ([None, None], pa.null(), ["", ""]),
        ([["a", "b"], [], None], pa.list_(pa.string()), ["a, b", "", ""]),
    ],
)
def test_texts(values, found, texts):
    assert texts_of(column(values, found)).to_pylist() == texts


@pytest.mark.parametrize(
    ("values", "found", "separator", "lists"),
    [
        (["x | y||x", "", " "], pa.string(), "|", [["x", "y"], [], []]),
        (["x::y", "x"], pa.string(), "::", [["x", "y"], ["x"]]),
        (["x|y", " "], pa.string(), None, [["x|y"], []]),
        ([3, None], pa.int64(), None, [["3"], []]),
        ([["b", "a", "b", " "], None, []], pa.list_(pa.string()), "|", [["b", "a"], [], []]),
        ([[1, 2, 1], None], pa.list_(pa.int64()), None, [["1", "2"], []]),
        (
            [[["a", "b"], ["b", None]], [], None, [[]]],
            pa.list_(pa.list_(pa.string())),
            None,
            [["a", "b"], [], [], []],
        ),
        ([["x", "y"], None], pa.list_(pa.string(), 2), None, [["x", "y"], []]),
        ([["x"], ["y", "z"]], pa.large_list(pa.large_string()), None, [["x"], ["y", "z"]]),
    ],
)
def test_lists(values, found, separator, lists):
    assert lists_of(column(values, found), separator).to_pylist() == lists


def test_lists_of_slices_and_of_several_chunks():
    values = pa.array([["a"], ["b", "b"], ["c"]])
    chunks = pa.chunked_array([values.slice(1), values.slice(0, 2), values.slice(0, 0)])
    assert lists_of(chunks, None).to_pylist() == [["b"], ["c"], ["a"], ["b"]]
    assert lists_of(pa.chunked_array([], pa.string()), "|").to_pylist() == []


@pytest.mark.parametrize(
    ("values", "found", "numbers"),
    [
        (["1", " 2.5 ", "", "x", "1e999"], pa.string(), [1.0, 2.5, None, None, math.inf]),
        (["true", "false", " true ", "yes", ""], pa.string(), [1.0, 0.0, 1.0, None, None]),
        ([1, None], pa.int32(), [1.0, None]),
        ([1.5, math.nan, math.inf], pa.float64(), [1.5, None, math.inf]),
        ([True, False], pa.bool_(), [1.0, 0.0]),
        ([decimal.Decimal("1.50")], pa.decimal128(5, 2), [1.5]),
        ([datetime.date(1970, 1, 3)], pa.date32(), [2.0]),
        ([1500], pa.timestamp("ms"), [1500.0]),
        ([2**60 + 1], pa.timestamp("ns"), [2.0**60]),
        ([2**60 + 1], pa.int64(), [2.0**60]),
        (["7", None], pa.dictionary(pa.int8(), pa.string()), [7.0, None]),
        ([["7"], ["7", "8"]], pa.list_(pa.string()), [7.0, None]),
    ],
)
def test_numbers(values, found, numbers):
    assert numbers_of(column(values, found)).to_pylist() == numbers


def test_a_text_that_names_no_finite_number_is_not_missing():
    (nan, infinite) = numbers_of(column(["nan", "-Infinity"])).to_pylist()
    assert math.isnan(nan) and math.isnan(infinite)


@pytest.mark.parametrize(
    "number",
    [0.0, -0.0, 5.0, -7.25, 0.1, 1e-7, 123456.789, 1e9 + 0.5, 1e15 + 0.5, 2.0**53, 1e22, math.inf],
)
def test_a_number_is_written_alike_alone_and_in_a_column(number):
    assert number_text(number) == texts_of(column([number, 1.5]))[0].as_py()


@pytest.mark.parametrize(
    ("found", "readable"),
    [
        (pa.string(), True),
        (pa.list_(pa.list_(pa.int8())), True),
        (pa.dictionary(pa.int8(), pa.string()), True),
        (pa.null(), True),
        (pa.struct({"a": pa.int64()}), False),
        (pa.list_(pa.struct({"a": pa.int64()})), False),
        (pa.map_(pa.string(), pa.string()), False),
    ],
)
def test_types_that_are_values_or_lists_of_values(found, readable):
    assert is_readable(found) == readable


def test_lists_are_built_from_rows():
    lists = lists_from_rows(pa.array([1, 1, 3]).to_numpy(), pa.array(["a", "b", "c"]), 5)
    assert lists.to_pylist() == [[], ["a", "b"], [], ["c"], []]


def test_blank_texts():
    assert is_blank(column(["", " \t", "\u3000", "x"])).to_pylist() == [True, True, True, False]


def test_ids_must_be_there_and_fit_on_a_line():
    block = typed_block(pa.table({"who": ["a", " ", None, "b\nc", "d"]}))
    ids, usable, letters = usable_ids(block, "who", "user_id")
    assert ids.to_pylist() == ["a", " ", "", "b\nc", "d"]
    assert usable.tolist() == [True, False, False, False, True]
    assert [(letter["line"], letter["reason"], letter["detail"]) for letter in letters] == [
        (2, "missing_user_id", "column 'who': empty"),
        (3, "missing_user_id", "column 'who': empty"),
        (4, "line_break_in_user_id", "column 'who': holds a line break"),
    ]


def test_ids_that_end_in_nul_do_not_become_others():
    block = typed_block(pa.table({"who": ["a", "a\0", "\0", "b\0c", "a"]}))
    _, usable, letters = usable_ids(block, "who", "user_id")
    assert usable.tolist() == [True, False, False, False, True]
    assert [(letter["line"], letter["reason"], letter["detail"]) for letter in letters] == [
        (line, "nul_in_user_id", "column 'who': holds a NUL byte") for line in (2, 3, 4)
    ]


def test_ids_are_at_most_500_bytes_long():
    block = typed_block(pa.table({"who": ["a" * 500, "a" * 501, "\u00e9" * 250, "\u00e9" * 251]}))
    _, usable, letters = usable_ids(block, "who", "user_id")
    assert usable.tolist() == [True, False, True, False]
    assert [(letter["line"], letter["reason"], letter["detail"]) for letter in letters] == [
        (line, "long_user_id", "column 'who': has more than 500 bytes") for line in (2, 4)
    ]


def test_rows_that_were_rejected_before_are_not_rejected_again():
    block = typed_block(pa.table({"who": ["", "", "a"]}))
    among = np.array([False, True, False])
    _, usable, letters = usable_ids(block, "who", "user_id", among)
    assert usable.tolist() == [False, False, False]
    assert [letter["line"] for letter in letters] == [2]
    assert among.tolist() == [False, True, False]


def test_line_breaks():
    texts = pa.chunked_array([["a b", "a\r", "a\n", ""]])
    assert breaks_line(texts).to_pylist() == [False, True, True, False]
