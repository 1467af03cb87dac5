from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from configs.command_line import CommandError
from configs.files import alone_in

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
