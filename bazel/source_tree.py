"""Reads the repository's Python files: which modules there are and what each one needs."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

CODE_FOLDERS = (
    "bazel",
    "benchmarks",
    "configs",
    "examples",
    "models",
    "preprocessing",
    "serving",
    "tests",
    "trainer",
)
DOCUMENTATION = "docs"
"""Folder of pages that tests read; it holds no code."""

_PRUNED_FOLDERS = {"__pycache__", "offline_repositories"}
_FOLDERS_THAT_NAME_DATA = ("examples", "tests")
_PATH_IN_TEXT = re.compile(r"[\w-]+(?:/[\w.-]+)+")


class SourceTreeError(Exception):
    """The sources contradict themselves; the message names the file and the fix."""


@dataclass
class Module:
    """One Python file.

    Attributes:
      name: dotted module name; a package's name for its `__init__.py`.
      path: path relative to the repository root.
      imports: names of our own modules it imports.
      third_party: top-level names of other people's packages it imports.
      data: files and folders of the repository that it names, relative to the root.
    """

    name: str
    path: PurePosixPath
    imports: set[str] = field(default_factory=set)
    third_party: set[str] = field(default_factory=set)
    data: set[PurePosixPath] = field(default_factory=set)

    @property
    def is_package(self) -> bool:
        """True for an `__init__.py`."""
        return self.path.name == "__init__.py"


def read_modules(root: Path) -> dict[str, Module]:
    """Reads all modules below the code folders.

    Args:
      root: the repository root.

    Returns:
      Modules by dotted name, in file order, with imports and data filled in.

    Raises:
      SourceTreeError: a file is not valid Python or imports a module of ours that does not exist.
    """
    modules = {}
    for path in python_files(root):
        parts = path.with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = Module(name, path)
    for module in modules.values():
        try:
            tree = ast.parse((root / module.path).read_text(encoding="utf-8"))
        except SyntaxError as error:
            raise SourceTreeError(f"{module.path}:{error.lineno}: {error.msg}") from error
        for name, line in _imported_names(tree, module):
            _add_import(module, name, line, modules)
        for program in _inline_programs(tree):
            for name, _ in _imported_names(program, module):
                if _known_prefix(name, modules):
                    _add_import(module, name, 0, modules)
        if module.path.parts[0] in _FOLDERS_THAT_NAME_DATA:
            module.data = set(_named_data(tree, root))
    return modules


def python_files(root: Path) -> Iterator[PurePosixPath]:
    """Yields the Python files below the code folders, sorted, relative to the root."""
    for path in _files(root):
        if path.suffix == ".py":
            yield path


def data_files(root: Path) -> Iterator[PurePosixPath]:
    """Yields the files below the code folders that are neither Python nor Bazel's, sorted."""
    for path in _files(root):
        if not _is_code(path):
            yield path


def paths_named_in(text: str, root: Path) -> set[PurePosixPath]:
    """Paths of the repository that a text, such as a scenario file, names."""
    found = (PurePosixPath(name) for name in _PATH_IN_TEXT.findall(text))
    return {path for path in found if (root / path).exists()}


def _files(root: Path) -> Iterator[PurePosixPath]:
    for folder in CODE_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            relative = path.relative_to(root)
            if path.is_file() and not _is_pruned(relative):
                yield PurePosixPath(relative)


def _is_code(path: PurePosixPath) -> bool:
    return path.suffix in {".py", ".bazel", ".bzl"} or path.name in {"BUILD", "WORKSPACE"}


def _is_pruned(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return hidden or not _PRUNED_FOLDERS.isdisjoint(path.parts)


def _imported_names(tree: ast.Module, module: Module) -> Iterator[tuple[str, int]]:
    package = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    typing_only = _typing_only_nodes(tree)
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = [*base, *([node.module] if node.module else [])]
            yield from ((".".join([*origin, alias.name]), node.lineno) for alias in node.names)
        elif isinstance(node, ast.List | ast.Tuple):
            yield from ((name, node.lineno) for name in _programs_run(node))


def _typing_only_nodes(tree: ast.Module) -> set[ast.AST]:
    nodes: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            nodes.update(inner for statement in node.body for inner in ast.walk(statement))
    return nodes


def _programs_run(command: ast.List | ast.Tuple) -> Iterator[str]:
    """Modules that a command line such as `[sys.executable, "-m", "trainer"]` runs."""
    words = [item.value if isinstance(item, ast.Constant) else None for item in command.elts]
    for flag, name in zip(words, words[1:], strict=False):
        if flag == "-m" and isinstance(name, str) and name.split(".")[0] in CODE_FOLDERS:
            yield f"{name}.__main__"


def _inline_programs(tree: ast.Module) -> Iterator[ast.Module]:
    """Texts that are Python programs, in a file that runs one with `python -c`."""
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    if any(constant.value == "-c" for constant in constants):
        for constant in constants:
            if isinstance(constant.value, str) and "import " in constant.value:
                try:
                    yield ast.parse(constant.value)
                except SyntaxError:
                    continue


def _known_prefix(name: str, modules: dict[str, Module]) -> str:
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def _add_import(module: Module, name: str, line: int, modules: dict[str, Module]) -> None:
    top = name.split(".")[0]
    if top not in CODE_FOLDERS:
        if top not in sys.stdlib_module_names:
            module.third_party.add(top)
        return
    prefix = _known_prefix(name, modules)
    depth_missing = name.count(".") - prefix.count(".") if prefix else 2
    if not prefix or depth_missing > 1:
        raise SourceTreeError(
            f"{module.path}:{line}: imports '{name}', but there is no such module; "
            "write the module or correct the import"
        )
    if prefix != module.name:
        module.imports.add(prefix)


def _named_data(tree: ast.Module, root: Path) -> Iterator[PurePosixPath]:
    for node in ast.walk(tree):
        text = _joined_path(node)
        if text is None or not text or len(text) > 200 or "\n" in text:
            continue
        path = PurePosixPath(text)
        if path.is_absolute() or ".." in path.parts or _is_code(path):
            continue
        target = root / path
        is_data = target.is_file() or ("/" in text and target.is_dir())
        if not is_data or not path.parts:
            continue
        if path.parts[0] in (*CODE_FOLDERS, DOCUMENTATION) or len(path.parts) == 1:
            yield path


def _joined_path(node: ast.AST) -> str | None:
    """The constant text of a path: 'a/b', or the tail of `root / "a" / "b"`."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)):
        return None
    right = _joined_path(node.right)
    if right is None:
        return None
    left = _joined_path(node.left)
    return f"{left}/{right}" if left else right
