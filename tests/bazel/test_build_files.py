from __future__ import annotations

import ast
from pathlib import Path

from tests.source_code import syntax_tree


def test_every_folder_of_tests_has_a_target(repository_root: Path) -> None:
    tests = repository_root / "tests"
    folders = {
        "" if path.parent == tests else str(path.parent.relative_to(tests))
        for path in tests.rglob("test_*.py")
    }
    assert set(listed_folders(tests / "BUILD")) == folders


def test_folders_stand_once_and_in_order(repository_root: Path) -> None:
    listed = listed_folders(repository_root / "tests" / "BUILD")
    assert listed == sorted(set(listed))


def listed_folders(build_file: Path) -> list[str]:
    """The list TEST_FOLDERS of a BUILD file, whose syntax is Python's."""
    for statement in syntax_tree(build_file.read_text(encoding="utf-8")).body:
        if not isinstance(statement, ast.Assign):
            continue
        if ast.unparse(statement.targets[0]) == "TEST_FOLDERS":
            return list(ast.literal_eval(statement.value))
    raise AssertionError(f"{build_file} has no TEST_FOLDERS")
