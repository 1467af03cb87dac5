from __future__ import annotations

from pathlib import Path

from configs.files import code_version


def write(folder: Path, **texts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_names_and_contents_count(tmp_path: Path) -> None:
    first = code_version([write(tmp_path / "a" / "room", one="x = 1", two="y = 2")])
    assert len(first) == 64
    assert code_version([write(tmp_path / "b" / "room", one="x = 1", two="y = 2")]) == first
    assert code_version([write(tmp_path / "c" / "room", one="x = 1", two="y = 3")]) != first
    assert code_version([write(tmp_path / "d" / "room", one="x = 1", other="y = 2")]) != first


def test_only_files_with_the_suffixes_count(tmp_path: Path) -> None:
    folder = write(tmp_path / "room", one="x = 1")
    before = code_version([folder])
    (folder / "notes.txt").write_text("for people")
    assert code_version([folder]) == before
    assert code_version([folder], (".py", ".txt")) != before
