from __future__ import annotations

from pathlib import Path

import pytest

from configs.command_line import CommandError
from trainer.evaluation.exports import saved_model_in


def saved_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    return folder


def test_a_saved_model_is_taken_as_it_is(tmp_path: Path) -> None:
    assert saved_model_in(str(saved_model(tmp_path / "7"))) == tmp_path / "7"


def test_the_highest_version_is_taken(tmp_path: Path) -> None:
    for name in ("9", "10", "2", ".11.unfinished", "latest"):
        saved_model(tmp_path / name)
    (tmp_path / "12").mkdir()
    (tmp_path / "13").touch()
    assert saved_model_in(tmp_path) == tmp_path / "10"


def test_a_run_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    assert saved_model_in(tmp_path) is None


@pytest.mark.parametrize("name", ["empty", "file"])
def test_what_is_neither_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match=f"{name} holds no finished run.*no SavedModel"):
        saved_model_in(tmp_path / name)
