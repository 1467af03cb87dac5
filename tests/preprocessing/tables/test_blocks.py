from __future__ import annotations

import codecs

import pyarrow as pa
import pytest

from configs.command_line import CommandError
from configs.data import Table
from configs.loading import ConfigurationError
from preprocessing.tables import blocks as lines_module
from preprocessing.tables.blocks import (
    LineBlock,
    ParsedBlock,
    TableFile,
    WantedColumns,
    expand_paths,
    format_of,
    is_text,
    line_numbers,
    read_line_blocks,
    require_text_encoding,
    separator_of,
)
from tests.preprocessing.tables.tables_on_disk import text_file


def test_rows_know_their_file_and_line():
    file = TableFile(3, "b.csv", "/data/b.csv", "csv", ("x",), 10)
    lines = pa.array([2, 5], pa.int64()).to_numpy()
    block = ParsedBlock(file, pa.table({"x": ["a", "b"]}), lines, [], 2)
    files, numbers = block.places()
    assert files.equals(pa.array([3, 3], pa.int32()))
    assert numbers.equals(pa.array([2, 5], pa.int64()))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.csv", "a.csv", "c.txt", "year=2020/x.csv", "odd[1].csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "files"),
    [
        (["c.txt"], ["c.txt"]),
        (["[ab].csv"], ["a.csv", "b.csv"]),
        (["c.txt", "a.csv"], ["c.txt", "a.csv"]),
        (["b.csv", "[ab].csv"], ["b.csv", "a.csv"]),
        (["**/x.csv"], ["year=2020/x.csv"]),
        (["odd[1].csv"], ["odd[1].csv"]),
    ],
)
def test_patterns_are_sorted_lists_stay_in_order_and_files_come_once(folder, paths, files):
    assert expand_paths(paths, "key") == files


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent.csv", "data.x.path: there is no file 'absent.csv' .relative paths start at"),
        ("*.parquet", r"data.x.path: no file matches '\*.parquet'"),
        (
            "year=2020",
            "data.x.path: 'year=2020' is a folder; name its files, for example '.*/\\*.parquet'$",
        ),
    ],
)
def test_nothing_there_is_an_error(folder, path, message):
    with pytest.raises(ConfigurationError, match=message):
        expand_paths(["a.csv", path], "data.x.path")


def test_a_public_data_set_that_is_not_there_can_be_fetched(folder):
    with pytest.raises(ConfigurationError) as raised:
        expand_paths(["data/goodbooks_10k/ratings.csv"], "data.interactions.path")
    assert "there is no file 'data/goodbooks_10k/ratings.csv' (relative" in str(raised.value)
    assert "python -m preprocessing download goodbooks_10k" in str(raised.value)


@pytest.mark.parametrize(
    ("path", "configured", "expected"),
    [
        ("a.csv", "auto", "csv"),
        ("a.dat.gz", "auto", "csv"),
        ("u.item", "auto", "csv"),
        ("a.parquet", "auto", "parquet"),
        ("A.PARQUET", "auto", "parquet"),
        ("a.json.gz", "auto", "jsonl"),
        ("a.ndjson.zst", "auto", "jsonl"),
        ("a.jsonl", "auto", "jsonl"),
        ("gs://bucket/part-0001.jsonl.bz2", "auto", "jsonl"),
        ("part-0001", "parquet", "parquet"),
        ("a.json", "csv", "csv"),
    ],
)
def test_formats_by_name(path, configured, expected):
    assert format_of(Table(path=path, format=configured), path, "key") == expected


def test_packed_parquet_files_are_refused():
    with pytest.raises(ConfigurationError, match="key: a.parquet.gz: .*unpack it"):
        format_of(Table(path="x"), "a.parquet.gz", "key")


@pytest.mark.parametrize(
    ("path", "configured", "expected"),
    [("a.csv", None, ","), ("a.tsv", None, "\t"), ("A.TSV.xz", None, "\t"), ("a.tsv", ";", ";")],
)
def test_separators(path, configured, expected):
    assert separator_of(Table(path=path, separator=configured), path) == expected


def lines_of(path, encoding: str = "utf-8", block_bytes: int = 1000) -> dict[int, bytes]:
    collected = {}
    for block in read_line_blocks(text_file(path), encoding, block_bytes):
        for offset, line in enumerate(block.data.removesuffix(b"\n").split(b"\n")):
            collected[block.first_line + offset] = line
    return collected


@pytest.mark.parametrize("block_bytes", [1, 3, 7, 1000])
@pytest.mark.parametrize("last", [b"", b"\n"])
def test_blocks_hold_whole_lines_with_their_numbers(tmp_path, block_bytes, last):
    path = tmp_path / "file.csv"
    expected = [b"a,b", b"1,2", b"", b"a much longer line", b"3,4"]
    path.write_bytes(b"\n".join(expected) + last)
    assert lines_of(path, block_bytes=block_bytes) == dict(enumerate(expected, start=1))


@pytest.mark.parametrize("block_bytes", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", codecs.BOM_UTF8),
        ("utf-8", b""),
        ("latin-1", b""),
        ("cp1252", b""),
        ("utf-16", codecs.BOM_UTF16_LE),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", b""),
    ],
)
def test_every_encoding_becomes_utf_8(tmp_path, block_bytes, encoding, mark):
    path = tmp_path / "file.csv"
    text = "é|ü\nœuvre|x\n" if encoding != "latin-1" else "é|ü\nñ|x\n"
    stored = text.encode("utf-16-le" if encoding == "utf-16" else encoding)
    path.write_bytes(mark + stored)
    expected = dict(enumerate(text.encode().split(b"\n")[:-1], start=1))
    assert lines_of(path, encoding, block_bytes) == expected


@pytest.mark.parametrize("encoding", ["cp1252", "shift_jis", "utf-16-le"])
def test_bytes_that_are_no_text_spoil_their_line_only(tmp_path, encoding):
    bad = {"cp1252": b"\x81", "shift_jis": b"\xff", "utf-16-le": b"\x00\xdc"}[encoding]
    path = tmp_path / "file.csv"
    path.write_bytes("é\n".encode(encoding, "ignore") + bad + "\nok\n".encode(encoding))
    actual = lines_of(path, encoding)
    assert actual[3] == b"ok" and not is_text(actual[2]) and is_text(actual[1])


def test_an_empty_file_has_one_empty_block(tmp_path):
    path = tmp_path / "file.csv"
    path.write_bytes(b"")
    assert list(read_line_blocks(text_file(path), "utf-8")) == [LineBlock(0, 1, b"")]


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(lines_module, "_LONGEST_LINE", 1 << 20)
    path = tmp_path / "file.json"
    path.write_bytes(b"short\n" + b"x" * (3 << 20))
    with pytest.raises(CommandError, match="file.json: line 2 is longer than 1 MB"):
        list(read_line_blocks(text_file(path), "utf-8", 1 << 19))


def test_unknown_encodings_are_named():
    require_text_encoding("latin-1", "data.x.encoding")
    for encoding in ("latin1x", "hex", "é"):
        with pytest.raises(ConfigurationError, match=f"data.x.encoding: '{encoding}' is not"):
            require_text_encoding(encoding, "data.x.encoding")


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_lines_are_numbered_from_the_first_of_the_block(end):
    data = b"a\nb\nc" + end
    assert line_numbers(LineBlock(0, 7, data), data).tolist() == [7, 8, 9]


def test_columns_are_wanted_once_each():
    assert WantedColumns({"x": "a", "y": "b", "z": "a"}).names == ("a", "b")


def test_mapped_columns_must_exist_once():
    wanted = WantedColumns({"x": "b", "y": "c"}, frozenset(["y"]))
    WantedColumns({"x": "a", "y": "b"}).require_in(["a", "b"], "f.csv")
    with pytest.raises(ConfigurationError) as raised:
        wanted.require_in(["a", "b"], "f.csv")
    assert str(raised.value) == (
        "y: f.csv has no column 'c'. Its columns: a, b. Write 'y: null' if there is none"
    )
    with pytest.raises(ConfigurationError, match="x: f.csv has no column 'b'. Its columns: a$"):
        wanted.require_in(["a"], "f.csv")
    with pytest.raises(ConfigurationError, match="no column 'b'. Its columns: a, ' b'$"):
        wanted.require_in(["a", " b"], "f.csv")
    with pytest.raises(ConfigurationError, match="x: f.csv has more than one column 'b'"):
        wanted.require_in(["a", "b", "b", "c"], "f.csv")
