"""Turns modules into Bazel targets: names, labels, dependencies, data and test sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bazel.source_tree import (
    DOCUMENTATION,
    Module,
    SourceTreeError,
    data_files,
    paths_named_in,
)

THIRD_PARTY = "//bazel:third_party"
PYTEST_MAIN = PurePosixPath("bazel/pytest_main.py")
HEAVY_PACKAGES = {"apache_beam", "onnxruntime", "sklearn", "tensorflow", "tf_keras"}
WHOLE_TREE_TESTS = {
    "tests.preprocessing.knowledge.test_reasons",
    "tests.test_build_files",
    "tests.test_import_direction",
}


@dataclass(frozen=True)
class Target:
    """One py_library or py_test.

    Attributes:
      size: Bazel's test size, or None for a library.
      manual: true for a test that a wildcard such as //... must not run.
    """

    name: str
    source: PurePosixPath
    deps: tuple[str, ...]
    data: tuple[str, ...]
    size: str | None
    manual: bool


@dataclass(frozen=True)
class DataGroup:
    """The data files of one package: glob patterns and the groups that those files refer to."""

    patterns: tuple[str, ...]
    data: tuple[str, ...]


def targets_by_folder(root: Path, modules: dict[str, Module]) -> dict[PurePosixPath, list[Target]]:
    """Makes the targets of every folder, in file order.

    Raises:
      SourceTreeError: modules import each other in a circle.
    """
    edges = dependency_edges(modules)
    refuse_cycles(edges)
    folders: dict[PurePosixPath, list[Target]] = {}
    groups = data_groups(root, modules)
    for module in modules.values():
        folders.setdefault(module.path.parent, []).append(
            _target(root, module, modules, edges, groups)
        )
    return folders


def dependency_edges(modules: dict[str, Module]) -> dict[str, set[str]]:
    """What each module needs: its imports, and the `__init__.py` of the packages it lies in.

    An `__init__.py` that itself imports our modules is left out where it was not imported by
    name, because Bazel allows no circle; Bazel puts an empty file in its place.
    """
    edges = {}
    for module in modules.values():
        needed = set(module.imports)
        for package in _ancestors(module.name):
            if package in modules and not modules[package].imports:
                needed.add(package)
        if module.path.parts[0] == "tests" and module.path.name.startswith("test_"):
            # pytest reads the conftest.py of every folder above a test.
            parents = module.path.parents
            needed |= {".".join((*parent.parts, "conftest")) for parent in parents}
        edges[module.name] = needed & modules.keys()
    return edges


def refuse_cycles(edges: dict[str, set[str]]) -> None:
    """Raises SourceTreeError that spells out a circle of imports, if there is one."""
    finished: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            circle = " -> ".join([*trail[trail.index(name) :], name])
            raise SourceTreeError(
                f"circular imports: {circle}; move what both need to a third file"
            )
        if name in finished:
            return
        for needed in sorted(edges[name]):
            visit(needed, [*trail, name])
        finished.add(name)

    for name in edges:
        visit(name, [])


def data_groups(root: Path, modules: dict[str, Module]) -> dict[PurePosixPath, DataGroup]:
    """The data files of each package folder, as glob patterns."""
    patterns: dict[PurePosixPath, set[str]] = {}
    references: dict[PurePosixPath, set[str]] = {}
    for path in data_files(root):
        owner = _owning_folder(path, modules)
        if owner is None:
            continue
        inside = path.relative_to(owner)
        patterns.setdefault(owner, set()).add(str(inside.with_name(f"*{path.suffix}")))
        if path.suffix in {".yaml", ".yml"}:
            named = paths_named_in((root / path).read_text(encoding="utf-8"), root)
            labels = _data_labels(root, named, modules) - {_label(owner, "data")}
            references.setdefault(owner, set()).update(labels)
    return {
        owner: DataGroup(tuple(sorted(found)), tuple(sorted(references.get(owner, ()))))
        for owner, found in patterns.items()
    }


def _target(
    root: Path,
    module: Module,
    modules: dict[str, Module],
    edges: dict[str, set[str]],
    groups: Collection[PurePosixPath],
) -> Target:
    is_test = module.path.parts[0] == "tests" and module.path.name.startswith("test_")
    folder = module.path.parent
    deps = {
        _label(modules[name].path.parent, modules[name].path.stem) for name in edges[module.name]
    }
    if module.third_party:
        deps.add(THIRD_PARTY)
    data = _data_labels(root, module.data, modules)
    if module.path.parts[0] != "tests":
        # A room's code finds its own data files beside itself, without naming their path.
        data |= {_label(parent, "data") for parent in module.path.parents if parent in groups}
    return Target(
        name=module.path.stem,
        source=module.path,
        deps=sort_labels(_local(label, folder) for label in deps),
        data=sort_labels(_local(label, folder) for label in data),
        size=_test_size(module, modules, edges) if is_test else None,
        manual=module.name in WHOLE_TREE_TESTS,
    )


def _test_size(module: Module, modules: dict[str, Module], edges: dict[str, set[str]]) -> str:
    """`small` is 1 minute at most, `medium` 5 (TensorFlow alone takes seconds), `large` 15."""
    if "e2e" in module.path.parts:
        return "large"
    reached: set[str] = set()
    waiting = [module.name]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(edges[name])
    heavy = any(not HEAVY_PACKAGES.isdisjoint(modules[name].third_party) for name in reached)
    return "medium" if heavy else "small"


def _data_labels(
    root: Path, paths: Iterable[PurePosixPath], modules: dict[str, Module]
) -> set[str]:
    labels = set()
    for path in paths:
        if len(path.parts) == 1 and (root / path).is_file():
            labels.add(f"//:{path}")
            continue
        if path.parts[0] == DOCUMENTATION:
            labels.add(f"//:{DOCUMENTATION}")
            continue
        # The group of each file, since a named folder may own none of the data below it.
        owners = {
            _owning_folder(file, modules) for file in data_files(root) if _is_below(file, path)
        }
        labels |= {_label(owner, "data") for owner in owners if owner is not None}
    return labels


def _is_below(path: PurePosixPath, folder: PurePosixPath) -> bool:
    return path == folder or folder in path.parents


def _owning_folder(path: PurePosixPath, modules: dict[str, Module]) -> PurePosixPath | None:
    folders = {module.path.parent for module in modules.values()}
    return next((folder for folder in path.parents if folder in folders), None)


def _ancestors(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def _label(folder: PurePosixPath, name: str) -> str:
    return f"//{folder}:{name}"


def _local(label: str, folder: PurePosixPath) -> str:
    return label.removeprefix(f"//{folder}") if label.startswith(f"//{folder}:") else label


def sort_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Sorts as buildifier does: labels of the same package first, then by package and name."""
    return tuple(sorted(labels, key=lambda label: (not label.startswith(":"), label.split(":"))))
