from __future__ import annotations

import math

import pyarrow as pa
import pytest

from configs.data import Attribute
from preprocessing.interactions.catalogue import (
    attribute_columns,
    attribute_types,
    parse_attribute,
    take_out_unreadable,
)


def parse(stored: list, kind: str = "categorical", **settings):
    attribute = Attribute(kind=kind, column="x", **settings)
    return parse_attribute(pa.table({"x": pa.array(stored)}), "name", attribute).to_pylist()


def test_columns_and_types_by_attribute():
    attributes = {
        "plain": Attribute(kind="numeric"),
        "renamed": Attribute(kind="categorical", column="other"),
        "genres": Attribute(kind="categorical", flags=("War", "Drama")),
    }
    assert attribute_columns(attributes, "data.x") == {
        "data.x.plain.column": "plain",
        "data.x.renamed.column": "other",
        "data.x.genres.flags[0]": "War",
        "data.x.genres.flags[1]": "Drama",
    }
    texts = pa.list_(pa.string())
    assert attribute_types(attributes) == {
        "plain": pa.float64(),
        "renamed": texts,
        "genres": texts,
    }


@pytest.mark.parametrize(
    ("values", "settings", "expected"),
    [
        (["a|b", " ", "c"], {}, [["a|b"], [], ["c"]]),
        (["a| b|a||"], {"separator": "|"}, [["a", "b"]]),
        (["F", "M", "x"], {"values": {"F": "female", "M": "male"}}, [["female"], ["male"], ["x"]]),
        (["1|2|3"], {"separator": "|", "values": {"1": "x", "2": "x", "3": ""}}, [["x"]]),
        (["Heat (1995)", "Heat"], {"pattern": r"\((\d{4})\)$"}, [["1995"], []]),
        (["a=1|b|c=2"], {"separator": "|", "pattern": "=(.)"}, [["1", "2"]]),
        (["a:F"], {"pattern": ":(.)", "values": {"F": "female"}}, [["female"]]),
        (["x", "xy"], {"pattern": "x(y)?"}, [[], ["y"]]),
    ],
)
def test_categories_from_texts(values, settings, expected):
    assert parse(values, **settings) == expected


def test_categories_from_typed_columns():
    assert parse([["Books", "Art", "Books"], None]) == [["Books", "Art"], []]
    assert parse([[["Books"], ["Art"]]]) == [["Books", "Art"]]
    assert parse([3, None]) == [["3"], []]
    assert parse([["F"], ["M"]], values={"F": "female"}) == [["female"], ["M"]]


def test_a_category_stands_on_one_line():
    assert parse([["two\nlines", "a\r\n b"], ["c"]]) == [["two lines", "a b"], ["c"]]


def test_flags_are_values_named_by_their_columns():
    table = pa.table(
        {
            "War": ["1", "0", "", "true"],
            "Drama": pa.array([1, 0, None, 1]),
            "Sci-Fi": pa.array([True, False, None, False]),
        }
    )
    attribute = Attribute(
        kind="categorical", flags=("War", "Drama", "Sci-Fi"), values={"Sci-Fi": "Science fiction"}
    )
    assert parse_attribute(table, "genres", attribute).to_pylist() == [
        ["War", "Drama", "Science fiction"],
        [],
        [],
        ["War", "Drama"],
    ]


def test_numbers_are_read_missing_or_unreadable():
    numbers = parse([" 1999 ", "", "old", "inf", "2001.5"], kind="numeric")
    assert numbers[0] == 1999.0 and numbers[1] is None and numbers[4] == 2001.5
    assert math.isnan(numbers[2]) and math.isnan(numbers[3])
    assert parse([1999, None], kind="numeric") == [1999.0, None]
    assert parse([1999.5, math.nan], kind="numeric") == [1999.5, None]


def test_a_pattern_finds_the_number():
    values = ["01-Jan-1995", "unknown", ""]
    assert parse(values, kind="numeric", pattern=r"(\d{4})$") == [1995.0, None, None]


def test_unreadable_numbers_are_counted_and_become_missing():
    attributes = {"a": Attribute(kind="numeric"), "b": Attribute(kind="categorical")}
    table = pa.table({"b": [["x"], []], "a": pa.array([math.nan, 1.0])})
    cleaned, unreadable = take_out_unreadable(table, attributes)
    assert cleaned.column_names == ["b", "a"]
    assert cleaned["a"].to_pylist() == [None, 1.0]
    assert unreadable == {"a": 1}
    assert take_out_unreadable(table.slice(0, 0), attributes)[1] == {"a": 0}


def test_several_chunks_and_no_chunk():
    attribute = Attribute(kind="categorical", values={"a": "A"})
    chunked = pa.chunked_array([["a"], [], ["b"]], pa.string())
    table = pa.table({"x": chunked})
    assert parse_attribute(table, "x", attribute).to_pylist() == [["A"], ["b"]]
    assert parse_attribute(table.slice(0, 0), "x", attribute).to_pylist() == []
