from __future__ import annotations

from pathlib import Path

import pytest

from configs.command_line import CommandError
from serving.publishing import publishing


def names(base: Path) -> set[str]:
    return {path.name for path in base.iterdir()}


def test_versions_appear_whole_and_count_up(tmp_path: Path) -> None:
    base = tmp_path / "new" / "base"
    with publishing(base) as publisher:
        for number in (1, 2):
            with publisher.next_version() as version:
                assert (version.number, version.path) == (number, base / str(number))
                version.unfinished.mkdir()
                (version.unfinished / "file").write_text(str(number))
                assert not version.path.exists()
            assert (base / str(number) / "file").read_text() == str(number)
    assert names(base) == {".lock", "1", "2"}


def test_what_a_killed_or_failed_writer_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".1.unfinished").mkdir()
    (tmp_path / ".1.unfinished" / "leftover").write_text("of a killed export")
    with publishing(tmp_path) as publisher, pytest.raises(OSError, match="disk full"):
        with publisher.next_version() as version:
            assert not version.unfinished.exists()
            version.unfinished.mkdir()
            raise OSError("disk full")
    assert names(tmp_path) == {".lock"}


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with publishing(tmp_path) as publisher, publisher.next_version() as version:
        version.unfinished.mkdir()
        with pytest.raises(CommandError, match="another process is at work in"):
            with publishing(tmp_path):
                raise AssertionError("two writers")
        assert version.unfinished.exists()
    with publishing(tmp_path):
        assert (tmp_path / "1").is_dir()
