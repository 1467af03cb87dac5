from __future__ import annotations

import datetime

import pyarrow as pa
import pytest

from preprocessing.tables.values import fractional_seconds_of, seconds_of


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
def test_texts(unit, text, seconds):
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
