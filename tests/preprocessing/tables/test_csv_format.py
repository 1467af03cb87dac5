from __future__ import annotations

import contextlib
import csv

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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
        (b"\xff\n", {}, "line 1 is not a CSV header.*encoding, or.* .gz, .bz2"),
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


@pytest.mark.parametrize("data", [b"", b"\n\n", b" ", b"\r\n"])
def test_nothing_to_read(data):
    assert parse(data) == ([], [])


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


SEPARATORS = [",", ";", "\t", " ", "|", "\x01", "a", "::", " | ", "§", "abc"]
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")
TEXTS = st.text(CHARACTERS | st.sampled_from([*'",;:| \t\0\x1f§abcé']), max_size=6)


@given(
    st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=8),
    st.sampled_from(SEPARATORS),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["where needed", "everywhere", "nowhere"]),
    st.booleans(),
)
@example(
    [("5 disc", "", " y "), ("", "", ""), ("NA", "007", '"')], "::", "\n", "where needed", True
)
def test_what_is_written_is_read_back(rows, separator, end, quotes, ends) -> None:
    quoting = quotes != "nowhere"

    def written(field: str) -> str:
        needed = quotes == "everywhere" or any(mark in field for mark in ('"', *separator))
        return '"' + field.replace('"', '""') + '"' if quoting and needed else field

    if not quoting:
        without = str.maketrans("", "", separator)
        rows = [tuple(field.translate(without) for field in row) for row in rows]
    data = "".join(separator.join(map(written, row)) + end for row in rows)
    data = data if ends else data.removesuffix(end)
    actual, letters = parse(data.encode(), separator=separator, quoting=quoting)
    assert letters == []
    assert actual == [(line, row[0], row[2]) for line, row in enumerate(rows, start=2)]


@given(
    st.lists(
        st.text(st.sampled_from([*'",,,ab \t\r\0é']), max_size=10).map(str.encode)
        | st.binary(max_size=8).map(lambda line: line.replace(b"\n", b",")),
        max_size=8,
    ),
    st.booleans(),
)
@example([b'"a,x,1', b'2",x,y', b'"3",x,z'], True)  # one record of two lines
@example([b'u,"a', b"", b'line ""b"", text",x', b"1,2,3"], True)
@example([b'"a,x,1', b"2,x,y", b'"3",x,z'], True)  # a stray quote takes in no line
@example([b'"a"b,x,y', b'5" disc,x,y', b"1\r1,2,3", b"\xff,2,3", b"1,2", b" \t "], True)
@example([b"\xef\xbb\xbf"], False)  # no mark of the file's beginning: that is taken off before
def test_every_line_is_a_record_or_a_dead_letter(lines: list[bytes], quoting: bool) -> None:
    """As Python's csv module reads each line by itself, without records of several lines."""
    expected, reasons = [], []
    lines = [line.removesuffix(b"\r") for line in lines]
    texts = [line.decode(errors="replace") for line in lines]
    end = 0
    for number, line in enumerate(lines, start=2):
        if number < end:
            continue
        if not line.strip(b" \t"):
            continue
        reader = csv.reader(texts[number - 2 :] if quoting else [], strict=True)
        with contextlib.suppress(csv.Error, StopIteration):
            if len(next(reader)) == 3 and reader.line_num > 1:
                end = number + reader.line_num
                reasons.append((number, "line_break_in_field"))
                continue
        try:
            text = line.decode()
            fields = next(csv.reader([text], strict=True)) if quoting else text.split(",")
        except UnicodeDecodeError:
            reasons.append((number, "invalid_utf8"))
            continue
        except csv.Error:
            fields = None
        if "\r" in text:
            reasons.append((number, "line_break_in_field"))
        elif fields is None:
            reasons.append((number, "malformed_quotes"))
        elif len(fields) != 3:
            reasons.append((number, "wrong_column_count"))
        else:
            expected.append((number, fields[0], fields[2]))
    assert parse(b"".join(line + b"\n" for line in lines), quoting=quoting) == (expected, reasons)


@pytest.mark.parametrize("separator", [",", "::"])
def test_long_texts_in_quotes_are_records(separator):
    text = "long " * 40_000
    line = separator.join([f'"{text}"', "x", "y"])
    rows, letters = parse(f'{line}\n"open{separator}x{separator}y\n'.encode(), separator=separator)
    assert rows == [(2, text, "y")]
    assert letters == [(3, "malformed_quotes")]


@pytest.mark.parametrize("separator", [",", "::"])
def test_line_breaks_in_quotes_invent_no_record(separator):
    record = 'ann,"multi\r\n\r\nline, ""text""",4\r\n'
    lines = ["bob,plain,5\r\n", record, 'eve,12" disc,3\r\n']
    data = "".join(lines).replace(",", separator).replace(f"{separator} ", ", ").encode()
    rows, letters = parse(data, separator=separator)
    assert rows == [(2, "bob", "5"), (6, "eve", "3")]
    assert letters == [(3, "line_break_in_field")]
    block = csv_block(["a", "b", "c"], data, separator=separator)
    assert block.dead_letters[0]["detail"].endswith("the record ends in line 5")
