from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from bazel.source_tree import Module, SourceTreeError, read_modules
from bazel.targets import (
    DataGroup,
    data_groups,
    dependency_edges,
    refuse_cycles,
    sort_labels,
    targets_by_folder,
)


def module(
    path: str, imports: set[str] | None = None, third_party: set[str] | None = None
) -> Module:
    file = PurePosixPath(path)
    parts = file.with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, file, imports or set(), third_party or set())


def by_name(*modules: Module) -> dict[str, Module]:
    return {each.name: each for each in modules}


def test_the_init_of_every_enclosing_package_is_needed() -> None:
    modules = by_name(
        module("models/__init__.py"),
        module("models/backbones/__init__.py"),
        module("models/backbones/din.py"),
    )
    assert dependency_edges(modules) == {
        "models": set(),
        "models.backbones": {"models"},
        "models.backbones.din": {"models", "models.backbones"},
    }


def test_an_init_that_gathers_its_modules_makes_no_circle() -> None:
    modules = by_name(
        module("models/__init__.py", {"models.din"}),
        module("models/din.py"),
        module("trainer/loop.py", {"models"}),
    )
    edges = dependency_edges(modules)
    assert edges == {"models": {"models.din"}, "models.din": set(), "trainer.loop": {"models"}}
    refuse_cycles(edges)


def test_a_circle_is_spelt_out() -> None:
    with pytest.raises(SourceTreeError, match="a -> b -> c -> a"):
        refuse_cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}})


def test_sizes_follow_what_a_test_loads(tmp_path: Path) -> None:
    modules = by_name(
        module("models/hein.py", third_party={"tensorflow"}),
        module("models/match.py", {"models.hein"}),
        module("tests/conftest.py", third_party={"pytest"}),
        module("tests/test_light.py", third_party={"numpy"}),
        module("tests/test_heavy.py", {"models.match"}),
        module("tests/e2e/test_demo.py"),
        module("tests/test_build_files.py"),
    )
    folders = targets_by_folder(tmp_path, modules)
    targets = {target.name: target for targets in folders.values() for target in targets}
    assert {name: target.size for name, target in targets.items()} == {
        "hein": None,
        "match": None,
        "conftest": None,
        "test_light": "small",
        "test_heavy": "medium",
        "test_demo": "large",
        "test_build_files": "small",
    }
    assert targets["test_heavy"].deps == (":conftest", "//models:match")
    assert targets["test_light"].deps == (":conftest", "//bazel:third_party")
    assert [name for name, target in targets.items() if target.manual] == ["test_build_files"]


def test_data_belongs_to_the_nearest_package(tmp_path: Path) -> None:
    for name in ("examples/small/a/x.csv", "examples/small/y.md", "loose/z.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "small.yaml").write_text("path: examples/small/a/x.csv\n")
    modules = by_name(module("examples/small/demo.py"), module("configs/loading.py"))
    assert data_groups(tmp_path, modules) == {
        PurePosixPath("configs"): DataGroup(("*.yaml",), ("//examples/small:data",)),
        PurePosixPath("examples/small"): DataGroup(("*.md", "a/*.csv"), ()),
    }


def test_labels_sort_as_buildifier_sorts_them() -> None:
    labels = ["//b:a", "//a:z", "//a/b:c", ":z", ":a"]
    assert sort_labels(labels) == (":a", ":z", "//a:z", "//a/b:c", "//b:a")


def test_pages_that_a_test_reads_are_its_data(tmp_path: Path) -> None:
    for name, text in {
        "docs/models/din.md": "",
        "tests/test_pages.py": "page = root / 'docs/models' / name\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (targets,) = targets_by_folder(tmp_path, read_modules(tmp_path)).values()
    assert [target.data for target in targets] == [("//:docs",)]
