from __future__ import annotations

import csv
import io
import random

import pytest

from configs.data import Table
from configs.loading import ConfigurationError
from preprocessing.tables.blocks import LineBlock
from preprocessing.tables.csv_format import (
    Dialect,
    quoted_fields,
    read_column_names,
    stand_in,
    without_header,
)
from tests.preprocessing.tables.tables_on_disk import csv_block, text_file


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


def column_names(path, content: bytes, **written) -> tuple[str, ...]:
    path.write_bytes(content)
    table = Table(path=str(path), **written)
    return read_column_names(text_file(path), table, "data.x.path")


@pytest.mark.parametrize(
    ("content", "written", "names"),
    [
        (b"\xef\xbb\xbfa,b\n1,2\n", {}, ("a", "b")),
        (b"a,b", {}, ("a", "b")),
        (b'"a,1",b\r\n', {}, ("a,1", "b")),
        (b"a::b::c\n", {"separator": "::"}, ("a", "b", "c")),
        (
            "größe\tb\n".encode("latin-1"),
            {"separator": "\t", "encoding": "latin-1"},
            ("größe", "b"),
        ),
        (b"1,2\n", {"header": False, "column_names": ["x", "y"]}, ("x", "y")),
        (b"broken\n1,2\n", {"header": False, "column_names": ["x", "y"]}, ("x", "y")),
    ],
)
def test_column_names(tmp_path, content, written, names):
    assert column_names(tmp_path / "file.csv", content, **written) == names


@pytest.mark.parametrize(
    ("content", "written", "message"),
    [
        (b"", {}, "line 1 is empty"),
        (b"\n1,2\n", {}, "line 1 is empty"),
        (b"\xff\n", {}, "line 1 is not a CSV header"),
        (b'"a,b\n', {}, "line 1 is not a CSV header"),
        (b"a\n", {"separator": ""}, "the separator ''"),
        (b"", {"header": False, "column_names": ["x"]}, "is empty"),
        (
            b"1::2\n3::4\n",
            {"header": False, "column_names": ["x", "y"]},
            "its lines have 1 fields with the separator ',', but 'column_names' names 2",
        ),
    ],
)
def test_files_that_cannot_be_used_are_explained(tmp_path, content, written, message):
    with pytest.raises(ConfigurationError, match=f"data.x.path: .*{message}"):
        column_names(tmp_path / "file.csv", content, **written)


def test_the_header_is_taken_off_the_first_block():
    assert without_header(LineBlock(0, 1, b"a,b\n1,2\n")) == LineBlock(0, 2, b"1,2\n")
    assert without_header(LineBlock(0, 1, b"a,b")) == LineBlock(0, 2, b"")


def parse(data: bytes, **written):
    block = csv_block(["a", "b", "c"], data, wanted=["c", "a"], **written)
    assert block.table.column_names == ["c", "a"]
    rows = list(
        zip(
            block.lines.tolist(),
            block.table["a"].to_pylist(),
            block.table["c"].to_pylist(),
            strict=True,
        )
    )
    letters = sorted((letter["line"], letter["reason"]) for letter in block.dead_letters)
    assert block.records == len(rows) + len(letters)
    return rows, letters


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_fields_are_texts_and_lines_are_numbered(end):
    rows, letters = parse(b"1,x,NA" + (end or b"\n") + b",,\n007,x, y " + end)
    assert rows == [(2, "1", "NA"), (3, "", ""), (4, "007", " y ")]
    assert letters == []


def test_quotes_are_csv_quotes():
    rows, letters = parse(b'"a ""b"", c",x,y\n5" disc,x,y\n"open,x,y\n"a"b,x,y\n6,x,y\n')
    assert rows == [(2, 'a "b", c', "y"), (3, '5" disc', "y"), (6, "6", "y")]
    assert letters == [(4, "malformed_quotes"), (5, "malformed_quotes")]


def test_a_quote_left_open_does_not_take_in_the_next_line():
    rows, letters = parse(b'"a,x,1\n2",x,y\n"3",x,z\n')
    assert rows == [(3, '2"', "y"), (4, "3", "z")]
    assert letters == [(2, "malformed_quotes")]


def test_quotes_may_be_characters_like_all_others():
    rows, letters = parse(b'"a|x|"y\n"|"|"\n', separator="|", quoting=False)
    assert rows == [(2, '"a', '"y'), (3, '"', '"')]
    assert letters == []


def test_lines_of_another_shape_are_dead_letters_and_blank_ones_are_nothing():
    rows, letters = parse(b"\n1,2\n1,2,3,4\n  \n1,2,3\n\xff,2,3\n1\r1,2,3\n\n")
    assert rows == [(6, "1", "3")]
    assert letters == [
        (3, "wrong_column_count"),
        (4, "wrong_column_count"),
        (7, "invalid_utf8"),
        (8, "line_break_in_field"),
    ]


def test_a_byte_order_mark_inside_a_file_is_text():
    # Only that at a file's beginning is none, and it is taken off before.
    assert parse(b"\xef\xbb\xbfa,b,c\n1,2,3\n") == ([(2, "\ufeffa", "c"), (3, "1", "3")], [])
    assert parse(b"\xef\xbb\xbf\n") == ([], [(2, "wrong_column_count")])


@pytest.mark.parametrize("data", [b"", b"\n\n", b" ", b"\r\n"])
def test_nothing_to_read(data):
    assert parse(data) == ([], [])


@pytest.mark.parametrize("separator", ["::", "§", " | ", "\t", "|", ";", "\x01", "a", "abc"])
@pytest.mark.parametrize("quoting", [True, False])
def test_any_separator(separator, quoting):
    def data(end: str) -> bytes:
        lines = [["é", "1", "x"], ["", "", ""], ["5", "6", "7"]]
        return "".join(separator.join(line) + end for line in lines).encode()

    for end in ("\n", "\r\n"):
        rows, letters = parse(data(end), separator=separator, quoting=quoting)
        assert rows == [(2, "é", "x"), (3, "", ""), (4, "5", "7")]
        assert letters == []


def test_a_separator_of_several_characters_in_quotes_is_text():
    rows, letters = parse(b'"1::2"::x::"y::""z"""\n"1::2::3\n4::5::6\n', separator="::")
    assert rows == [(2, "1::2", 'y::"z"'), (4, "4", "6")]
    assert letters == [(3, "malformed_quotes")]


def test_control_characters_in_a_field_are_kept_by_another_stand_in():
    rows, letters = parse(b"\x1f\x1e::x::\x1d\n", separator="::")
    assert rows == [(2, "\x1f\x1e", "\x1d")]
    everything = bytes(range(1, 0x20)).replace(b"\n", b"").replace(b"\r", b"")
    rows, letters = parse(everything + b"::x::y\n1::2::3\n", separator="::")
    assert rows == [(3, "1", "3")]
    assert letters == [(2, "control_character")]


def test_an_encoding_is_named_when_a_line_is_not_of_it():
    block = csv_block(["a"], b"\xed\xb3\xbf\n", encoding="cp1252")
    assert [(letter["reason"], letter["detail"]) for letter in block.dead_letters] == [
        ("invalid_encoding", "not cp1252 text")
    ]


def test_random_tables_are_read_as_the_csv_module_reads_them():
    generator = random.Random(5)
    alphabet = ["a", '"', ",", "é", " ", "", "1", "''", "\t"]
    rows = [
        ["".join(generator.choices(alphabet, k=generator.randrange(5))) + "x" for _ in range(3)]
        for _ in range(500)
    ]
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    found, letters = parse(written.getvalue().encode())
    assert letters == []
    assert found == [(line, row[0], row[2]) for line, row in enumerate(rows, start=2)]


@pytest.mark.parametrize("separator", [",", "::"])
def test_long_texts_in_quotes_are_records(separator):
    text = "long " * 40_000
    line = separator.join([f'"{text}"', "x", "y"])
    rows, letters = parse(f'{line}\n"open{separator}x{separator}y\n'.encode(), separator=separator)
    assert rows == [(2, text, "y")]
    assert letters == [(3, "malformed_quotes")]
