"""Build hook of the wheel: the rooms of the repository, under one package `reki`.

A project that installs the wheel may have a `models` or `configs` of its own, so nothing of ours
may stand at the top. The hook copies the rooms to `reki/models`, `reki/configs`, ... and says
`reki.` before their names: in import statements, in text that is the dotted path of one of our
modules, and in commands (`python -m trainer`). All else stays as it is in the repository.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

PACKAGE = "reki"
ROOMS = ("configs", "models", "preprocessing", "serving", "trainer")
LEFT_OUT = (
    "*/BUILD",
    "*/__pycache__/*",
    # Scenarios and settings that read or show what only the repository has.
    "configs/evidence/*",
    "configs/experiments/*",
    "configs/movielens_small*",
    "serving/deploy/example*",
)
_ROOM = f"(?:{'|'.join(ROOMS)})"
# The name may begin the next part of a string that is written in several.
_COMMAND = re.compile(rf"""(python -m (?:["']\s+[rf]?["'])?)({_ROOM}\b)""")
_DOTTED_PATH = re.compile(rf"({_ROOM}(?:\.\w+)+)(?::\w+)?")
_FOLDER_OF_MODULES = re.compile(rf"({_ROOM}(?:\.\w+)*)\.")
_WITH_COMMANDS = (".jinja", ".md", ".yaml")


def wheel_files(root: Path) -> dict[str, bytes]:
    """Files of the wheel: path in it -> content.

    Args:
      root: the repository.

    Raises:
      ValueError: a source file names a room in a way that cannot be moved; says where and the fix.
    """
    shipped = {
        name: root / name
        for name in _sources(root)
        if not any(fnmatchcase(name, pattern) for pattern in LEFT_OUT)
    }
    modules = {_module(name) for name in shipped if name.endswith(".py")}
    files = {}
    for name, path in shipped.items():
        content = path.read_bytes()
        if path.suffix in (".py", ".pyi"):
            content = moved_source(content.decode(), modules, name).encode()
        elif path.suffix in _WITH_COMMANDS:
            content = _COMMAND.sub(rf"\1{PACKAGE}.\2", content.decode()).encode()
        files[name if name.startswith(f"{PACKAGE}/") else f"{PACKAGE}/{name}"] = content
    return files


def _sources(root: Path) -> list[str]:
    """Files of the rooms: those that Git tracks; without Git, all that are not hidden."""
    folders = [folder for folder in (PACKAGE, *ROOMS) if (root / folder).is_dir()]
    if (root / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--", *folders], cwd=root, capture_output=True, check=True
        )
        names = listed.stdout.decode().rstrip("\0").split("\0")
        return sorted(name for name in names if (root / name).is_file())
    paths = [path.relative_to(root) for folder in folders for path in (root / folder).rglob("*")]
    return sorted(
        path.as_posix()
        for path in paths
        if (root / path).is_file() and not any(part.startswith(".") for part in path.parts)
    )


def moved_source(source: str, modules: Collection[str], name: str) -> str:
    """Python source as it stands below `reki`.

    Args:
      source: as it stands in the repository.
      modules: dotted names of all modules and packages of the rooms.
      name: of the file, for messages.

    Raises:
      ValueError: a command or a dotted path stands in parts of a string, where it is not found.
    """
    source = _COMMAND.sub(rf"\1{PACKAGE}.\2", source)
    content = source.encode()
    starts = [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    edits = []
    for node in _statements_and_strings(ast.parse(source)):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        before = content[start:end].decode()
        try:
            edits.append((start, end, _moved(node, before, modules).encode()))
        except ValueError as error:
            raise ValueError(f"{name}:{node.lineno}: {error}") from error
    for start, end, after in sorted(edits, reverse=True):
        content = content[:start] + after + content[end:]
    return content.decode()


def _statements_and_strings(tree: ast.AST) -> Iterator[Any]:
    """Import statements and strings; the parts of an f-string are not given one by one."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr):
            yield node
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node
        else:
            yield from _statements_and_strings(node)


def _moved(node: ast.AST, text: str, modules: Collection[str]) -> str:
    """The text of a statement or string, moved."""
    if isinstance(node, ast.ImportFrom):
        if node.level or (node.module or "").split(".")[0] not in ROOMS:
            return text
        return re.sub(r"^from\s+", f"from {PACKAGE}.", text)
    if isinstance(node, ast.Import):
        if not any(alias.name.split(".")[0] in ROOMS for alias in node.names):
            return text
        return "; ".join(map(_moved_import, node.names))
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    value = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
    if _COMMAND.search(value):
        raise ValueError("a command is written in parts; do not break 'python -m'")
    matched = _DOTTED_PATH.fullmatch(value)
    moves = matched is not None and _is_ours(matched[1], modules)
    if isinstance(node, ast.JoinedStr):
        folder = _FOLDER_OF_MODULES.fullmatch(value.partition("{}")[0])
        matched, moves = folder, folder is not None and folder[1] in modules
    if matched is None or not moves:
        return text
    if matched[0] not in text:
        raise ValueError(f"'{matched[0]}' is written in parts; write it as one string")
    return text.replace(matched[0], f"{PACKAGE}.{matched[0]}", 1)


def _moved_import(alias: ast.alias) -> str:
    """`import NAME [as OTHER]` as one or two statements that bind the same names."""
    room = alias.name.split(".")[0]
    name = f"{PACKAGE}.{alias.name}" if room in ROOMS else alias.name
    if alias.asname or room not in ROOMS:
        return f"import {name}" + (f" as {alias.asname}" if alias.asname else "")
    return f"import {name}; from {PACKAGE} import {room}"


def _module(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _is_ours(path: str, modules: Collection[str]) -> bool:
    """Whether a dotted path is a module, or something in a module of a room."""
    return path in modules or (path.count(".") > 1 and path.rpartition(".")[0] in modules)


def get_build_hook() -> type:
    """The hook's class, for Hatchling, which only a build has."""
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class RoomsUnderOnePackage(BuildHookInterface):
        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Lays the files out and names their folder to Hatchling."""
            if version == "editable":
                raise ValueError(
                    "an editable install cannot move the rooms: use the repository itself, as "
                    "CONTRIBUTING.md says, or 'make wheel'"
                )
            self._folder = tempfile.TemporaryDirectory(prefix="reki_wheel_")
            for name, content in wheel_files(Path(self.root)).items():
                file = Path(self._folder.name, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            build_data["force_include"][f"{self._folder.name}/{PACKAGE}"] = PACKAGE

        def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
            """Removes what was laid out."""
            self._folder.cleanup()

    return RoomsUnderOnePackage
