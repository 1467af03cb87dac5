from __future__ import annotations

import gzip

import pytest

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.inputs import fingerprint_inputs, open_input


def test_files_are_fingerprinted_as_they_lie_there(tmp_path):
    plain, packed = tmp_path / "a.csv", tmp_path / "b.csv.gz"
    plain.write_bytes(b"abc")
    packed.write_bytes(gzip.compress(b"abc", mtime=0))
    hashes = fingerprint_inputs({str(packed): "y", str(plain): "x"})
    # sha256("abc"), FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hashes[str(plain)] == expected != hashes[str(packed)]
    with open_input(packed) as file:
        assert file.read() == b"abc"


def test_a_missing_file_is_named_with_its_key(tmp_path):
    with pytest.raises(ConfigurationError, match=r"data\.x: there is no file '.*absent"):
        fingerprint_inputs({str(tmp_path / "absent"): "data.x"})
    with pytest.raises(ConfigurationError, match="there is no file"):
        fingerprint_inputs({str(tmp_path): "data.x"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-9], "cut off"),
        (lambda data: data[:-2], "cut off"),
        (lambda data: b"plain text", "not a valid .gz file"),
        (lambda data: data[:-8] + b"\0\0\0\0" + data[-4:], "not a valid .gz file"),
    ],
)
def test_damaged_gzip_files_are_named(tmp_path, change, message):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(change(gzip.compress(b"abc" * 1000)))
    with pytest.raises(CommandError, match=f"a.csv.gz: .*{message}"):
        fingerprint_inputs({str(path): "key"})
