from __future__ import annotations

import gzip

import pytest

from configs.loading import ConfigurationError
from preprocessing.csv_blocks import (
    CsvBlock,
    parse_block,
    read_blocks,
    read_header,
    require_columns,
)


@pytest.mark.parametrize("block_bytes", [1, 3, 7, 1000])
@pytest.mark.parametrize("last", [b"", b"\n"])
def test_blocks_hold_whole_lines_with_their_numbers(tmp_path, block_bytes, last):
    path = tmp_path / "file.csv"
    lines = [b"a,b", b"1,2", b"", b"longer,line", b"3,4"]
    path.write_bytes(b"\n".join(lines) + last)
    found = {}
    for block in read_blocks(str(path), block_bytes):
        for offset, line in enumerate(block.data.removesuffix(b"\n").split(b"\n")):
            found[block.first_line + offset] = line
    assert found == {2: b"1,2", 3: b"", 4: b"longer,line", 5: b"3,4"}


def test_gzip_files_and_files_without_lines(tmp_path):
    path = tmp_path / "file.csv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbfa,b\n1,2\n"))
    assert read_header(path, "key") == ["a", "b"]
    assert [block.data for block in read_blocks(str(path))] == [b"1,2\n"]
    path.write_bytes(gzip.compress(b"a,b"))
    assert [block.data for block in read_blocks(str(path))] == [b""]


def parse(data: bytes):
    parsed = parse_block(CsvBlock("f.csv", 2, data), ["a", "b", "c"], ["c", "a"])
    rows = list(zip(*(parsed.table[name].to_pylist() for name in ("line", "a", "c")), strict=True))
    letters = [(letter["line"], letter["reason"]) for letter in parsed.dead_letters]
    assert parsed.records == len(rows) + len(letters)
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


def test_lines_of_another_shape_are_dead_letters_and_blank_ones_are_nothing():
    rows, letters = parse(b"\n1,2\n1,2,3,4\n  \n1,2,3\n\xff,2,3\n1\r1,2,3\n\n")
    assert rows == [(6, "1", "3")]
    assert sorted(letters) == [
        (3, "wrong_column_count"),
        (4, "wrong_column_count"),
        (7, "invalid_utf8"),
        (8, "line_break_in_field"),
    ]


@pytest.mark.parametrize("data", [b"", b"\n\n", b" "])
def test_nothing_to_read(data):
    assert parse(data) == ([], [])


def test_headers_that_cannot_be_used_are_explained(tmp_path):
    path = tmp_path / "file.csv"
    for content, message in [(b"", "line 1 is empty"), (b"\xff\n", "not a CSV header")]:
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=f"data.path: .*{message}"):
            read_header(path, "data.path")


def test_mapped_columns_must_exist_once():
    require_columns(["a", "b"], {"x": "a", "y": "b"}, "f.csv")
    with pytest.raises(
        ConfigurationError, match="x: f.csv has no column 'c'. Its columns: a, b, b"
    ):
        require_columns(["a", "b", "b"], {"x": "c"}, "f.csv")
    with pytest.raises(ConfigurationError, match="more than one column 'b'"):
        require_columns(["a", "b", "b"], {"x": "b"}, "f.csv")
