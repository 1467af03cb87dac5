from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from configs import files
from configs.command_line import CommandError
from configs.files import alone_in, file_sha256


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


HOLDER = """
import sys, pathlib
from configs.files import alone_in
with alone_in(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_killed(
    tmp_path: Path, repository_root: Path
) -> None:
    folder = tmp_path / "deep" / "study"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(
        command, cwd=repository_root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with (
            pytest.raises(CommandError, match=f"another process is at work in {folder}"),
            alone_in(folder),
        ):
            pass
        holder.kill()
        holder.wait()
    with alone_in(folder):
        assert folder.is_dir()


def test_the_folder_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"), alone_in(tmp_path):
        raise OSError("disk full")
    with alone_in(tmp_path):
        pass
