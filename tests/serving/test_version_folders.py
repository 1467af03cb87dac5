from __future__ import annotations

from pathlib import Path

import pytest

from serving.publishing import version_folders


def test_versions_are_the_folders_whose_names_are_numbers(tmp_path: Path) -> None:
    for name in ("2", "10", ".11.unfinished", "notes", "-3", "\u0663", "9" * 30):
        (tmp_path / name).mkdir()
    (tmp_path / "12").write_text("a file")
    assert version_folders(tmp_path) == {10: tmp_path / "10", 2: tmp_path / "2"}
    assert list(version_folders(tmp_path)) == [10, 2]


def test_a_base_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        version_folders(tmp_path / "nowhere")
