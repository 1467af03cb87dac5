from __future__ import annotations

import codecs

import pytest

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.tables import blocks as lines_module
from preprocessing.tables.blocks import (
    LineBlock,
    is_text,
    line_numbers,
    read_line_blocks,
    require_encoding,
)
from tests.preprocessing.tables.tables_on_disk import text_file


def lines_of(path, encoding: str = "utf-8", block_bytes: int = 1000) -> dict[int, bytes]:
    found = {}
    for block in read_line_blocks(text_file(path), encoding, block_bytes):
        for offset, line in enumerate(block.data.removesuffix(b"\n").split(b"\n")):
            found[block.first_line + offset] = line
    return found


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
    found = lines_of(path, encoding)
    assert found[3] == b"ok" and not is_text(found[2]) and is_text(found[1])


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
    require_encoding("latin-1", "data.x.encoding")
    for encoding in ("latin1x", "hex", "é"):
        with pytest.raises(ConfigurationError, match=f"data.x.encoding: '{encoding}' is not"):
            require_encoding(encoding, "data.x.encoding")


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_lines_are_numbered_from_the_first_of_the_block(end):
    data = b"a\nb\nc" + end
    assert line_numbers(LineBlock(0, 7, data), data).tolist() == [7, 8, 9]
