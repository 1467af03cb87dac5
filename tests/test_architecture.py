"""ARCHITECTURE.md names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOMS = ("configs", "models", "preprocessing", "serving", "trainer")


@pytest.fixture(scope="module")
def named(repository_root: Path) -> set[str]:
    text = (repository_root / "ARCHITECTURE.md").read_text(encoding="utf-8")
    return {name for name in re.findall(r"`([\w./-]+)`", text) if "/" in name}


def test_what_it_names_exists(named: set[str], repository_root: Path) -> None:
    assert len(named) > 50
    assert [name for name in sorted(named) if not (repository_root / name).exists()] == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_folder_of_a_room_is_named(room: str, named: set[str], repository_root: Path) -> None:
    folders = {
        path.parent.relative_to(repository_root).as_posix()
        for path in (repository_root / room).rglob("*.py")
        if path.parent.name != "__pycache__"
    } - {room}
    shown = {str(Path(name).parent) if name.endswith(".py") else name.rstrip("/") for name in named}
    missing = {folder for folder in folders if folder not in shown}
    assert not missing
