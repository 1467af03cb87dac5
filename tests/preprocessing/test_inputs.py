from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma

import pytest
import zstandard

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing import storage
from preprocessing.inputs import LONGEST_LINE, bounded_lines, input_checksums, open_input
from tests.preprocessing import shared_file_system

COMPRESS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}
CONTENT = b"".join(b"%d,some text\n" % number for number in range(20_000))


def test_files_are_fingerprinted_as_they_lie_there(tmp_path):
    plain, packed = tmp_path / "a.csv", tmp_path / "b.csv.gz"
    plain.write_bytes(b"abc")
    packed.write_bytes(gzip.compress(b"abc", mtime=0))
    hashes = input_checksums({str(packed): "y", str(plain): "x"})
    # sha256("abc"), FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hashes[str(plain)] == expected != hashes[str(packed)]


@pytest.mark.parametrize("suffix", ["", *COMPRESS])
def test_every_compression_is_read_and_hashed_whole(tmp_path, suffix):
    compress = COMPRESS.get(suffix, bytes)
    stored = compress(CONTENT) + compress(b"second part\n")  # a file may hold several streams
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(stored)
    with open_input(path) as file:
        assert file.readline() == b"0,some text\n"
        assert file.read() == CONTENT.partition(b"\n")[2] + b"second part\n"
    assert file.closed
    assert input_checksums({str(path): "key"}) == {str(path): hashlib.sha256(stored).hexdigest()}


class CountedFile(io.FileIO):
    """A file that knows how many bytes were read of it."""

    count = 0

    def read(self, size: int = -1) -> bytes:
        block = super().read(size)
        self.count += len(block)
        return block


@pytest.mark.parametrize("suffix", ["", *COMPRESS])
def test_a_file_is_read_once_for_its_checksum(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(COMPRESS.get(suffix, bytes)(CONTENT))
    opened = []

    def counted(path):
        opened.append(CountedFile(path))
        return opened[-1]

    monkeypatch.setattr(storage, "open_bytes", counted)
    input_checksums({str(path): "key"})
    assert [file.count for file in opened] == [path.stat().st_size]


def test_a_missing_file_is_named_with_its_key(tmp_path):
    with pytest.raises(ConfigurationError, match=r"data\.x: there is no file '.*absent"):
        input_checksums({str(tmp_path / "absent"): "data.x"})
    with pytest.raises(ConfigurationError, match="data.x: '.*' is a folder; name a file in it"):
        input_checksums({str(tmp_path): "data.x"})
    (tmp_path / "a.jsonl").write_text("{}")
    with pytest.raises(ConfigurationError, match="is a pattern; name each file, .*/a.jsonl'$"):
        input_checksums({str(tmp_path / "*.jsonl"): "data.x"})
    with pytest.raises(ConfigurationError, match="no file matches '.*csv'"):
        input_checksums({str(tmp_path / "*.csv"): "data.x"})


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("missing", [2, 500, "all"])
def test_files_that_were_cut_off_are_named(tmp_path, suffix, missing):
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(b"" if missing == "all" else COMPRESS[suffix](CONTENT)[:-missing])
    with pytest.raises(CommandError, match=f"a.csv{suffix}: the file is cut off"):
        input_checksums({str(path): "key"})
    with pytest.raises(CommandError, match=f"a.csv{suffix}: the file is cut off"):
        list(bounded_lines(path))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_the_compressed_form_of_nothing_is_a_whole_file(tmp_path, suffix):
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(COMPRESS[suffix](b""))
    assert list(bounded_lines(path)) == []
    assert input_checksums({str(path): "key"})


@pytest.mark.parametrize("suffix", COMPRESS)
def test_files_that_are_something_else_are_named(tmp_path, suffix):
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(b"plain text, as it comes from a web server with an error page\n")
    with pytest.raises(CommandError, match=f"a.csv{suffix}: not a valid {suffix} file"):
        input_checksums({str(path): "key"})


def test_a_wrong_checksum_inside_is_found(tmp_path):
    stored = gzip.compress(CONTENT)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(stored[:-8] + b"\0\0\0\0" + stored[-4:])
    with pytest.raises(CommandError, match="a.csv.gz: not a valid .gz file"):
        input_checksums({str(path): "key"})


def test_files_in_an_object_store(tmp_path, monkeypatch):
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "bucket").mkdir()
    stored = gzip.compress(CONTENT)
    (tmp_path / "bucket" / "a.csv.gz").write_bytes(stored)
    (tmp_path / "bucket" / "b.csv.gz").write_bytes(stored[:-100])
    url = "shared://bucket/a.csv.gz"
    with open_input(url) as file:
        assert file.read() == CONTENT
    assert input_checksums({url: "key"}) == {url: hashlib.sha256(stored).hexdigest()}
    with pytest.raises(CommandError, match="shared://bucket/b.csv.gz: the file is cut off"):
        input_checksums({"shared://bucket/b.csv.gz": "key"})
    with pytest.raises(ConfigurationError, match="key: there is no file 'shared://bucket/c.csv'$"):
        input_checksums({"shared://bucket/c.csv": "key"})


@pytest.mark.parametrize("suffix", ["", *COMPRESS])
def test_lines_are_bounded_whatever_they_decompress_to(tmp_path, suffix):
    longest = b"x" * LONGEST_LINE
    lines = [
        b"first",
        longest,
        longest + b"x",
        b"",
        longest * 3,
        b"y" * 7,
        b"\r" * LONGEST_LINE * 2,
    ]
    path = tmp_path / f"lines.jsonl{suffix}"
    path.write_bytes(COMPRESS.get(suffix, bytes)(b"\r\n".join([*lines, b"last"])))
    read = list(bounded_lines(path))
    assert [len(line) for line in read] == [
        5, LONGEST_LINE, LONGEST_LINE + 1, 0, LONGEST_LINE + 1, 7, LONGEST_LINE + 1, 4,
    ]  # fmt: skip
    assert (read[0], read[5], read[-1]) == (b"first", b"y" * 7, b"last")
