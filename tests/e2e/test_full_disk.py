"""A disk that is full or may not be written: the place is named, and earlier results stay."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import preprocessing.__main__
from tests.full_disk import small_disk
from tests.killing import checksums
from tests.small_pipeline import SMALL_STEPS, folders_before_steps

DISK_KILOBYTES = 4000
FREE_KILOBYTES = 4


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


def results(folder: Path) -> dict[str, str]:
    """Checksums of what steps leave; the reports of `forget` tell the time."""
    found = checksums(folder)
    return {
        name: found[name] for name in found if not name.startswith(("ballast", "work/forget_r"))
    }


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders as they are before each step."""
    return folders_before_steps(tmp_path_factory.mktemp("states"), SMALL_STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("step", SMALL_STEPS)
def test_a_step_on_a_full_disk_and_after_room_was_made(
    step: str,
    states: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = SMALL_STEPS[step]
    expected = tmp_path / "expected"
    shutil.copytree(states[step], expected)
    monkeypatch.chdir(expected)
    assert preprocessing.__main__.main(words) == 0
    with small_disk(tmp_path, DISK_KILOBYTES) as disk:
        shutil.copytree(states[step], disk, dirs_exist_ok=True)
        before = results(disk)
        ballast = fill(disk, FREE_KILOBYTES)
        monkeypatch.chdir(disk)
        capsys.readouterr()
        assert preprocessing.__main__.main(words) == 1
        shown = capsys.readouterr().err
        assert "the disk is full (No space left on device), " in shown
        assert "MB are free there" in shown
        assert "Traceback" not in shown
        after = results(disk)
        # `forget` notes first whom every later step passes over.
        before.pop("work/forgotten.json")
        assert {name: after.get(name) for name in before} == before
        ballast.unlink()
        assert preprocessing.__main__.main(words) == 0
        assert results(disk) == results(expected)
        monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("step", SMALL_STEPS)
def test_a_step_on_a_disk_that_may_not_be_written(
    step: str,
    states: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with small_disk(tmp_path, DISK_KILOBYTES) as disk:
        shutil.copytree(states[step], disk, dirs_exist_ok=True)
        before = checksums(disk)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        monkeypatch.chdir(disk)
        capsys.readouterr()
        assert preprocessing.__main__.main(SMALL_STEPS[step]) == 1
        shown = capsys.readouterr().err
        assert "Read-only file system" in shown
        assert "Traceback" not in shown
        assert checksums(disk) == before
        monkeypatch.chdir(tmp_path)
