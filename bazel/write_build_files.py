"""Writes the BUILD files of all code folders from what the sources import and name.

One py_library per source file, one py_test per test file, in file order. `--check` changes
nothing and fails when a BUILD file differs from what would be written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from bazel.source_tree import CODE_FOLDERS, SourceTreeError, read_modules
from bazel.targets import (
    PYTEST_MAIN,
    DataGroup,
    Target,
    data_groups,
    sort_labels,
    targets_by_folder,
)

_HEADER = "# Written by `make build-files` from the imports of the sources; do not edit.\n"
_THIRD_PARTY = """
# Other people's packages: all of requirements*.txt where Bazel installs them (MODULE.bazel),
# nothing where the interpreter given by --python_path has them already (WORKSPACE).
py_library(
    name = "third_party",
    deps = all_requirements + all_development_requirements,
)
"""
_THIRD_PARTY_LOADS = """\
load("@pypi//:requirements.bzl", "all_requirements")
load("@pypi_development//:requirements.bzl", all_development_requirements = "all_requirements")
"""


def build_files(root: Path) -> dict[PurePosixPath, str]:
    """Composes all BUILD files.

    Args:
      root: the repository root.

    Returns:
      Contents by path relative to the root.

    Raises:
      SourceTreeError: the sources do not parse, import what is not there, or import in a circle.
    """
    modules = read_modules(root)
    groups = data_groups(root, modules)
    return {
        folder / "BUILD": _compose(folder, targets, groups.get(folder))
        for folder, targets in targets_by_folder(root, modules).items()
    }


def outdated(root: Path) -> list[str]:
    """One line for each BUILD file that is missing, stale or left over."""
    wanted = build_files(root)
    problems = []
    for path, text in wanted.items():
        if not (root / path).is_file():
            problems.append(f"{path}: missing")
        elif (root / path).read_text(encoding="utf-8") != text:
            problems.append(f"{path}: differs from the sources")
    problems.extend(f"{path}: its folder has no Python files" for path in _leftover(root, wanted))
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks the BUILD files; returns the exit code."""
    parser = argparse.ArgumentParser(prog="bazel.write_build_files", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail on a difference")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository root")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            problems = outdated(options.root)
            for problem in problems:
                print(f"{problem}; run `make build-files`", file=sys.stderr)
            return 1 if problems else 0
        wanted = build_files(options.root)
    except SourceTreeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path, text in wanted.items():
        (options.root / path).write_text(text, encoding="utf-8")
    for path in _leftover(options.root, wanted):
        (options.root / path).unlink()
    print(f"{len(wanted)} BUILD files written", file=sys.stderr)
    return 0


def _leftover(root: Path, wanted: dict[PurePosixPath, str]) -> list[PurePosixPath]:
    found = []
    for folder in CODE_FOLDERS:
        for path in sorted((root / folder).rglob("BUILD")):
            relative = PurePosixPath(path.relative_to(root))
            is_ours = path.read_text(encoding="utf-8").startswith(_HEADER)
            if is_ours and relative not in wanted:
                found.append(relative)
    return found


def _compose(folder: PurePosixPath, targets: Sequence[Target], group: DataGroup | None) -> str:
    rules = {"py_library" if target.size is None else "py_test" for target in targets}
    names = ", ".join(f'"{rule}"' for rule in sorted(rules))
    is_bazel_folder = folder == PYTEST_MAIN.parent
    blocks = [
        _HEADER
        + "\n"
        + (_THIRD_PARTY_LOADS if is_bazel_folder else "")
        + f'load("@rules_python//python:defs.bzl", {names})\n',
        'package(default_visibility = ["//:__subpackages__"])\n',
    ]
    if is_bazel_folder:
        blocks.append(f'exports_files(["{PYTEST_MAIN.name}"])\n')
        blocks.append(_THIRD_PARTY.lstrip("\n"))
    if group is not None:
        sources = f"glob({_list(group.patterns)})"
        blocks.append(_call("filegroup", {"name": '"data"', "srcs": sources, "data": group.data}))
    blocks.extend(_compose_target(target) for target in targets)
    return "\n".join(blocks)


def _compose_target(target: Target) -> str:
    attributes: dict[str, str | Sequence[str]] = {"name": f'"{target.name}"'}
    if target.size is None:
        attributes |= {"srcs": (target.source.name,), "data": target.data, "deps": target.deps}
        return _call("py_library", attributes)
    main_label = f"//{PYTEST_MAIN.parent}:{PYTEST_MAIN.name}"
    attributes |= {
        "size": f'"{target.size}"',
        "srcs": (target.source.name, main_label),
        "args": (str(target.source),),
        "data": sort_labels({"//:pyproject.toml", *target.data}),
        "main": f'"{main_label}"',
        "tags": ("manual",) if target.manual else (),
        "deps": target.deps,
    }
    return _call("py_test", attributes)


def _call(rule: str, attributes: dict[str, str | Sequence[str]]) -> str:
    lines = [f"{rule}("]
    for name, value in attributes.items():
        if isinstance(value, str):
            lines.append(f"    {name} = {value},")
        elif value:
            lines.append(f"    {name} = {_list(value)},")
    return "\n".join([*lines, ")", ""])


def _list(items: Sequence[str]) -> str:
    if len(items) == 1:
        return f'["{items[0]}"]'
    lines = "".join(f'        "{item}",\n' for item in items)
    return f"[\n{lines}    ]"


if __name__ == "__main__":
    sys.exit(main())
