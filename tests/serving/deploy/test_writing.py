from __future__ import annotations

from pathlib import Path

import pytest

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from serving.deploy.rendering import render
from serving.deploy.writing import settings_in, write_files
from tests.serving.deploy.deployments import FULL, IN_A_BUCKET, PLAIN


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_files_are_written_and_only_changed_ones_again(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    written = write_files(folder, {"x.yaml": "1", "c/y.yaml": "ä"})
    assert written == (["x.yaml", "c/y.yaml"], [], [])
    assert contents(folder) == {"x.yaml": "1", "c/y.yaml": "ä"}
    untouched = (folder / "x.yaml").stat().st_mtime_ns
    before = contents(folder)
    written = write_files(folder, {"x.yaml": "1", "c/y.yaml": "2"}, before)
    assert written == (["c/y.yaml"], ["x.yaml"], [])
    assert (folder / "x.yaml").stat().st_mtime_ns == untouched


def test_folders_stay_so_that_a_mounted_one_sees_the_new_file(tmp_path: Path) -> None:
    write_files(tmp_path, {"server/models.config": "1"})
    inode = (tmp_path / "server").stat().st_ino
    write_files(tmp_path, {"server/models.config": "2"}, {"server/models.config": "1"})
    assert (tmp_path / "server").stat().st_ino == inode
    assert contents(tmp_path) == {"server/models.config": "2"}


def test_files_that_are_no_longer_rendered_go(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": "1", "b": "2"})
    written = write_files(tmp_path, {"a": "1"}, {"a": "1", "b": "2"})
    assert written == ([], ["a"], ["b"])
    assert contents(tmp_path) == {"a": "1"}


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": "1"})
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(CommandError, match="notes.txt"):
        write_files(tmp_path, {"a": "2"}, {"a": "1"})
    assert contents(tmp_path) == {"a": "1", "notes.txt": "mine"}


def test_many_files_of_others_are_counted(tmp_path: Path) -> None:
    for name in "abcde":
        (tmp_path / name).write_text("", encoding="utf-8")
    with pytest.raises(CommandError, match=r"\(a, b, c and 2 more\)"):
        write_files(tmp_path, {})


@pytest.mark.parametrize("deployment", [PLAIN, FULL, IN_A_BUCKET])
def test_a_rendered_folder_knows_its_settings(tmp_path: Path, deployment: object) -> None:
    assert settings_in(tmp_path / "missing") is None
    assert settings_in(tmp_path) is None
    write_files(tmp_path, render(deployment))  # type: ignore[arg-type]
    assert settings_in(tmp_path) == deployment


def test_folders_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {}", encoding="utf-8")
    with pytest.raises(CommandError, match="holds other things"):
        settings_in(tmp_path)
    with pytest.raises(CommandError, match="is a file"):
        settings_in(tmp_path / "compose.yaml")


def test_settings_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("stable: many", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="settings.yaml: stable"):
        settings_in(tmp_path)
