from __future__ import annotations

import re
from pathlib import Path

import pytest

from bazel.write_build_files import outdated
from tests.test_import_direction import ALLOWED_IMPORTS


def test_build_files_agree_with_the_sources(repository_root: Path) -> None:
    problems = outdated(repository_root)
    assert not problems, "run `make build-files`:\n" + "\n".join(problems)


@pytest.mark.parametrize("room", ALLOWED_IMPORTS)
def test_every_source_file_has_one_target(room: str, repository_root: Path) -> None:
    for source in (repository_root / room).rglob("*.py"):
        build_file = (source.parent / "BUILD").read_text(encoding="utf-8")
        targets = re.findall(rf'^    name = "{source.stem}",$', build_file, re.MULTILINE)
        mentions = re.findall(rf'^    (?:srcs = \[|    )"{source.name}"', build_file, re.MULTILINE)
        assert (len(targets), len(mentions)) == (1, 1), source


def test_every_data_label_is_declared(repository_root: Path) -> None:
    texts = {
        path.parent.relative_to(repository_root).as_posix(): path.read_text(encoding="utf-8")
        for path in repository_root.rglob("BUILD")
        if not {".venv", ".cache", "offline_repositories"} & set(path.parts)
    }
    used = {label for text in texts.values() for label in re.findall(r'"//([^":]+):data"', text)}
    assert "examples/movielens_small" in used
    assert [folder for folder in used if 'name = "data"' not in texts[folder]] == []
