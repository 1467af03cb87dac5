"""A disk that fills up: the place and the space are named, and earlier results stay."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import preprocessing.__main__
from tests.full_disk import small_disk
from tests.scenarios import write_tiny_inputs

FREE_KILOBYTES = 24


def fill(disk: Path, leaving: int) -> Path:
    ballast = disk / "ballast"
    ballast.write_bytes(b"")
    with ballast.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - leaving * 1024))
    return ballast


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "ballast" not in path.name
    }


@pytest.mark.slow
@pytest.mark.parametrize("step", ["examples", "encode"])
def test_a_step_that_fills_the_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    config = write_tiny_inputs(inputs)
    with small_disk(tmp_path, 2000) as disk:
        work = disk / "work"
        words = [step, "--config", str(config), f"work_dir={work}"]
        assert preprocessing.__main__.main(words) == 0
        before = hashes(work)
        assert before
        ballast = fill(disk, FREE_KILOBYTES)
        capsys.readouterr()
        assert preprocessing.__main__.main([*words, "--force"]) == 1
        shown = capsys.readouterr().err
        assert f"error: {work}" in shown
        assert "the disk is full (No space left on device), " in shown
        assert "MB are free there" in shown
        assert "Traceback" not in shown
        assert hashes(work) == before
        ballast.unlink()
        assert preprocessing.__main__.main([*words, "--force"]) == 0
        assert hashes(work) == before
