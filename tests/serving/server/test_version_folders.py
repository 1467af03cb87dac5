from __future__ import annotations

from pathlib import Path

import pytest

from serving.server.version_folders import fingerprint, version_folders


def test_only_numbered_folders_are_versions(tmp_path: Path) -> None:
    for name in ("1", "002", "10", "v3", "-4", "٣", ".tmp-5", "9" * 30):
        (tmp_path / name).mkdir()
    (tmp_path / "11").write_text("a file")
    assert [(version, folder.name) for version, folder in version_folders(tmp_path).items()] == [
        (10, "10"),
        (2, "002"),
        (1, "1"),
    ]


def test_a_missing_base_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        version_folders(tmp_path / "nowhere")


def test_a_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    empty = fingerprint(tmp_path)
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "data").write_bytes(b"1")
    one = fingerprint(tmp_path)
    assert one == fingerprint(tmp_path) != empty
    (tmp_path / "variables" / "data").write_bytes(b"12")
    assert fingerprint(tmp_path) != one
    assert fingerprint(tmp_path / "nowhere") == frozenset()
