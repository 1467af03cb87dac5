from __future__ import annotations

import math

import pyarrow as pa
import pytest

from configs.scenario import InteractionColumns
from preprocessing.csv_blocks import CsvBlock
from preprocessing.interactions.reading import parse_integers, parse_interactions, parse_numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4", 4.0), ("-4.5", -4.5), (".5", 0.5), ("5.", 5.0), ("1e-3", 0.001), ("1e999", math.inf),
        ("", None), ("4,5", None), ("0x1F", None), ("1_000", None), ("nan", None), ("four", None),
        ("--4", None), ("4 5", None), (".", None), ("e5", None),
    ],
)  # fmt: skip
def test_numbers(text, number):
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


def test_columns_are_mapped_and_others_left_out():
    block = CsvBlock("file.csv", 2, b"7,x,5,film, 3.5 \n8,y,6,film2,oops\n")
    columns = InteractionColumns(user="who", item="what", rating="stars", timestamp="when")
    header = ["when", "note", "who", "what", "stars"]
    table, dead_letters, records = parse_interactions(block, header, columns)
    assert table.to_pylist() == [
        {"user": "5", "item": "film", "rating": 3.5, "timestamp": 7, "line": 2}
    ]
    assert records == 2
    assert dead_letters == [
        {
            "file": "file.csv",
            "line": 3,
            "reason": "unparsable_rating",
            "detail": "column 'stars': 'oops'",
        }
    ]
