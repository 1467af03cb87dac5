from __future__ import annotations

import pytest

from configs.data import Table
from configs.loading import ConfigurationError
from preprocessing.tables.blocks import LineBlock
from preprocessing.tables.csv_format import read_column_names, without_header
from tests.preprocessing.tables.tables_on_disk import text_file


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
