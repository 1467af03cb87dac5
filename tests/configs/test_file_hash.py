from __future__ import annotations

from pathlib import Path

from configs import files
from configs.files import file_sha256


def test_checksums_of_known_texts(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    assert file_sha256(file) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    file.write_bytes(b"abc")
    assert file_sha256(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_may_be_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    million = tmp_path / "million"
    million.write_bytes(b"a" * 1_000_000 + b"b" * (files._READ_BYTES))
    short = tmp_path / "short"
    short.write_bytes(b"a" * 1_000_000)
    assert file_sha256(million) != file_sha256(short)
    # The third example of FIPS 180-2.
    assert file_sha256(short) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
