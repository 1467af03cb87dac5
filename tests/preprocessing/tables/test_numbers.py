from __future__ import annotations

import math

import pyarrow as pa
import pytest

from preprocessing.tables.values import names_no_finite_number, parse_integers, parse_numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4", 4.0), ("-4.5", -4.5), ("+4", 4.0), (".5", 0.5), ("5.", 5.0), ("1e-3", 0.001),
        ("1e999", math.inf), ("", None), ("4,5", None), ("0x1F", None), ("1_000", None),
        ("nan", None), ("four", None), ("--4", None), ("4 5", None), (".", None), ("e5", None),
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


def test_names_of_what_is_no_finite_number():
    texts = pa.chunked_array([["NaN", "-inf", "+Infinity", "info", "", "1"]])
    assert names_no_finite_number(texts).to_pylist() == [True, True, True, False, False, False]
