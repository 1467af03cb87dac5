"""Code names in documents, `Class.method()` and `Class.attribute`, are those of the packages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from preprocessing.answers.record import LINKING_REASONS
from preprocessing.links.linking import DROPPED
from tests.source_code import syntax_tree

ROOMS = ("configs", "models", "preprocessing", "serving", "trainer", "examples", "benchmarks")
CALL = re.compile(r"`([A-Z]\w+)\.([a-z_]\w*)\(")
ATTRIBUTE = re.compile(r"`([A-Z][a-z]\w*[A-Z]\w*)\.([a-z_]\w*)`")
FOREIGN = {"RunInference", "DirectRunner", "FlinkRunner", "PortableRunner", "ServerConfig"}
"""Classes of other libraries."""

OF_KERAS = {"call", "build", "get_config", "fit", "compile", "save", "trainable_weights"}
"""Methods that every layer and model has."""


class Definition:
    """What a class holds by name, and its bases."""

    def __init__(self, node: ast.ClassDef):
        self.bases = [ast.unparse(base).rsplit(".", 1)[-1] for base in node.bases]
        self.names = {
            part.name
            for part in node.body
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        for part in ast.walk(node):
            if isinstance(part, ast.AnnAssign):
                self._take(part.target)
            elif isinstance(part, ast.Assign):
                for target in part.targets:
                    self._take(target)

    def _take(self, target: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.names.add(target.id)
        elif isinstance(target, ast.Attribute):
            self.names.add(target.attr)


@pytest.fixture(scope="module")
def definitions() -> dict[str, list[Definition]]:
    root = Path(__file__).parents[1]
    collected: dict[str, list[Definition]] = {}
    for room in ROOMS:
        for path in (root / room).rglob("*.py"):
            for node in ast.walk(syntax_tree(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    collected.setdefault(node.name, []).append(Definition(node))
    return collected


def named(text: str) -> set[tuple[str, str]]:
    """Class and name of every code name in backticks."""
    names = {*CALL.findall(text), *ATTRIBUTE.findall(text)}
    return {(owner, name) for owner, name in names if owner not in FOREIGN}


def has(definitions: dict[str, list[Definition]], owner: str, name: str) -> bool:
    """Whether a class, or a base of it that is ours, has the name; Keras' own names count."""
    return any(
        name in definition.names
        or name in OF_KERAS
        or any(has(definitions, base, name) for base in definition.bases)
        for definition in definitions.get(owner, ())
    )


DOCUMENTS = ["README.md", "CONTRIBUTING.md", *sorted(
    str(path.relative_to(Path(__file__).parents[1]))
    for path in (Path(__file__).parents[1] / "docs").rglob("*.md")
)]  # fmt: skip


@pytest.mark.parametrize("document", DOCUMENTS)
def test_names_exist(
    repository_root: Path, definitions: dict[str, list[Definition]], document: str
) -> None:
    text = (repository_root / document).read_text(encoding="utf-8")
    missing = [
        f"{owner}.{name}"
        for owner, name in sorted(named(text))
        if not has(definitions, owner, name)
    ]
    assert not missing


def test_the_check_sees_names(definitions: dict[str, list[Definition]]) -> None:
    text = "`KnowledgeMatch.store()` `KnowledgeMatch.without_folds()` `RunFolder.read_metrics`"
    actual = named(text)
    assert actual == {
        ("KnowledgeMatch", "store"),
        ("KnowledgeMatch", "without_folds"),
        ("RunFolder", "read_metrics"),
    }
    assert has(definitions, "RunFolder", "read_metrics")
    assert not has(definitions, "RunFolder", "read_matrix")
    assert not has(definitions, "KnowledgeMatch", "without_folds")
    assert not has(definitions, "NoSuchClass", "store")


def test_reasons_why_names_make_no_links_are_explained(repository_root: Path) -> None:
    text = (repository_root / "docs/linked_knowledge.md").read_text(encoding="utf-8")
    assert {*LINKING_REASONS, *DROPPED} - {*re.findall(r"`(\w+)`", text)} == set()


def test_no_two_public_classes_share_a_name(definitions: dict[str, list[Definition]]) -> None:
    counts = {name: len(definitions[name]) for name in definitions if not name.startswith("_")}
    assert len(counts) > 500
    assert [name for name, count in counts.items() if count > 1] == []
