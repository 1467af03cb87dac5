from __future__ import annotations

import csv

import pytest

from configs.data import Table
from configs.loading import ConfigurationError
from preprocessing.tables.csv_format import Dialect, quoted_fields, stand_in


def dialect(separator: str, quoting: bool = True) -> Dialect:
    return Dialect(separator, quoting, "utf-8")


@pytest.mark.parametrize(
    ("separator", "quoting", "line", "fields"),
    [
        (",", True, 'a,"b ""x"", c",d', ["a", 'b "x", c', "d"]),
        ("::", True, 'a::"b::c"::d', ["a", "b::c", "d"]),
        ("::", False, 'a::"b::c"::d', ["a", '"b', 'c"', "d"]),
        ("\t", False, 'a\t"b', ["a", '"b']),
        ("§", True, 'a§"b§c"', ["a", "b§c"]),
        (":::", False, "a::::b", ["a", ":b"]),
    ],
)
def test_lines_are_split(separator, quoting, line, fields):
    assert dialect(separator, quoting).split(line) == fields


def test_malformed_quotes_are_an_error():
    for separator in (",", "::"):
        with pytest.raises(csv.Error):
            dialect(separator).split(f'"open{separator}x')


@pytest.mark.parametrize("separator", ["", "\n", 'a"b', "\r"])
def test_separators_that_cannot_be_used(separator):
    with pytest.raises(ConfigurationError, match="data.x.separator: the separator"):
        dialect(separator).require_usable("data.x.separator")


def test_a_quotation_mark_may_separate_when_it_does_not_quote():
    dialect('"', quoting=False).require_usable("data.x.separator")


def test_the_separator_comes_from_the_configuration_or_the_name():
    assert Dialect.of_file(Table(path="a"), "a.csv").separator == ","
    assert Dialect.of_file(Table(path="a"), "a.tsv.gz").separator == "\t"
    assert Dialect.of_file(Table(path="a", separator=";"), "a.tsv").separator == ";"


def test_a_line_of_separators_is_a_record():
    assert dialect(",").is_blank(b" \t ") and not dialect("\t").is_blank(b"\t\t")
    assert dialect("\t").is_blank(b"  ") and not dialect(",").is_blank(b",")


def test_the_stand_in_is_not_in_the_data():
    assert stand_in(b"a::b") == b"\x1f"
    assert stand_in(b"a\x1f::\x1eb") == b"\x1d"
    assert stand_in(bytes(range(256))) == b"\x1f"


@pytest.mark.parametrize("separator", [",", "::"])
def test_a_field_may_be_long(separator):
    text = "x" * 200_000
    assert dialect(separator).split(f'"{text}"{separator}b') == [text, "b"]


def test_an_open_quote_takes_in_the_next_line():
    assert list(quoted_fields(['a,"b', 'c",d'], ",")) == [["a", "bc", "d"]]
