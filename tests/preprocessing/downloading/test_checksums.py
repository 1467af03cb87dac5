from __future__ import annotations

import hashlib

import pytest

from configs.command_line import CommandError
from preprocessing.downloading.checksums import file_checksums, published_md5, require_md5
from preprocessing.downloading.data_sets import RemoteFile
from tests.preprocessing.downloading.file_server import file_server

CONTENT = b"PK some archive"
MD5 = hashlib.md5(CONTENT).hexdigest()


def test_checksums_of_a_file(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(CONTENT)
    found = file_checksums(path)
    assert (found.bytes, found.md5) == (15, MD5)
    assert found.sha256 == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (f"MD5 (a.zip) = {MD5}\n", MD5),
        (f"{MD5.upper()}  a.zip\n", MD5),
        ("<html>moved</html>", None),
        (None, None),
    ],
)
def test_the_md5_beside_a_file(written, expected):
    with file_server() as server:
        if written is not None:
            server.files["/a.zip.md5"] = written.encode()
        beside = RemoteFile("a.zip", (), b"PK", md5_beside=True)
        assert published_md5(beside, f"{server.url}/a.zip") == expected
        assert published_md5(RemoteFile("a.zip", (), b"PK"), f"{server.url}/a.zip") is None
        known = RemoteFile("a.zip", (), b"PK", md5="1" * 32, md5_beside=True)
        assert published_md5(known, f"{server.url}/a.zip") == "1" * 32


def test_a_file_that_differs_is_removed(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(CONTENT)
    actual = file_checksums(path)
    require_md5(path, actual, MD5, "http://host/a.zip")
    assert path.exists()
    with pytest.raises(CommandError, match=f"has the MD5 {MD5}, its publisher says 1111"):
        require_md5(path, actual, "1" * 32, "http://host/a.zip")
    assert not path.exists()
