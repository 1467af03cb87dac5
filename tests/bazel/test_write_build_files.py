from __future__ import annotations

from pathlib import Path

import pytest

from bazel.targets import sort_labels
from bazel.write_build_files import main

MODELS = """\
# Written by `make build-files` from the imports of the sources; do not edit.

load("@rules_python//python:defs.bzl", "py_library")

package(default_visibility = ["//:__subpackages__"])

filegroup(
    name = "data",
    srcs = glob([
        "*.md",
        "figures/*.svg",
    ]),
)

py_library(
    name = "__init__",
    srcs = ["__init__.py"],
    data = [":data"],
)

py_library(
    name = "hein",
    srcs = ["hein.py"],
    data = [":data"],
    deps = [
        ":__init__",
        "//bazel:third_party",
    ],
)
"""
TESTS = """\
# Written by `make build-files` from the imports of the sources; do not edit.

load("@rules_python//python:defs.bzl", "py_library", "py_test")

package(default_visibility = ["//:__subpackages__"])

py_library(
    name = "conftest",
    srcs = ["conftest.py"],
)

py_test(
    name = "test_hein",
    size = "medium",
    srcs = [
        "test_hein.py",
        "//bazel:pytest_main.py",
    ],
    args = ["tests/test_hein.py"],
    data = [
        "//:pyproject.toml",
        "//models:data",
    ],
    main = "//bazel:pytest_main.py",
    deps = [
        ":conftest",
        "//models:hein",
    ],
)
"""


@pytest.fixture
def small_repository(tmp_path: Path) -> Path:
    files = {
        "models/__init__.py": "",
        "models/hein.py": "import tensorflow as tf\n",
        "models/paper.md": "",
        "models/figures/flow.svg": "",
        "tests/conftest.py": "",
        "tests/test_hein.py": "from models import hein\nPAPER = 'models/paper.md'\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_writes_one_target_per_file(small_repository: Path) -> None:
    assert main(["--root", str(small_repository)]) == 0
    assert (small_repository / "models" / "BUILD").read_text() == MODELS
    assert (small_repository / "tests" / "BUILD").read_text() == TESTS
    assert main(["--root", str(small_repository), "--check"]) == 0


def test_check_names_what_is_outdated(
    small_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(small_repository), "--check"]) == 1
    assert "models/BUILD: missing" in capsys.readouterr().err
    main(["--root", str(small_repository)])
    (small_repository / "models" / "match.py").write_text("")
    (small_repository / "trainer").mkdir()
    (small_repository / "trainer" / "BUILD").write_text(MODELS)
    capsys.readouterr()
    assert main(["--root", str(small_repository), "--check"]) == 1
    message = capsys.readouterr().err
    assert "models/BUILD: differs" in message
    assert "trainer/BUILD: its folder has no Python files" in message
    assert "tests/BUILD" not in message
    assert not (small_repository / "tests" / "BUILD").read_text().count("match")


def test_a_left_over_file_is_removed_but_only_if_it_was_generated(small_repository: Path) -> None:
    for folder, text in (("trainer", MODELS), ("serving", "# by hand\n")):
        (small_repository / folder).mkdir()
        (small_repository / folder / "BUILD").write_text(text)
    assert main(["--root", str(small_repository)]) == 0
    assert not (small_repository / "trainer" / "BUILD").exists()
    assert (small_repository / "serving" / "BUILD").exists()


def test_a_wrong_import_fails_without_a_traceback(
    small_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small_repository / "models" / "match.py").write_text("import serving.export\n")
    assert main(["--root", str(small_repository)]) == 1
    assert capsys.readouterr().err.startswith("error: models/match.py:1: imports 'serving.export'")


def test_labels_stand_in_buildifiers_order() -> None:
    # Upper case before lower case, labels of the own folder first.
    labels = ["//:pyproject.toml", ":b", "//:README.md", ":a"]
    assert sort_labels(labels) == (":a", ":b", "//:README.md", "//:pyproject.toml")
