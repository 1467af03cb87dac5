from __future__ import annotations

import datetime
import decimal
import math

import pyarrow as pa
import pytest

from preprocessing.tables.values import (
    is_blank,
    is_readable,
    lists_from_rows,
    lists_of,
    number_text,
    numbers_of,
    texts_of,
)


def column(values: list, found: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, found)])


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
