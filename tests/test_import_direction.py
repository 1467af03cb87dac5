from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.source_code import syntax_tree

# What a room may import of ours besides itself. A dotted name allows that package or module alone.
ALLOWED_IMPORTS: dict[str, tuple[str, ...]] = {
    "configs": (),
    "reki": ("configs", "models", "preprocessing.records"),
    "models": ("configs.model", "configs.scenario", "configs.serving"),
    "preprocessing": ("configs",),
    "trainer": ("configs", "models", "preprocessing.records"),
    "serving": (
        "configs",
        "models",
        "preprocessing.answers",  # a refresh reads answers as preprocessing does
        "preprocessing.dead_letters",
        "preprocessing.encoders",
        "preprocessing.inputs",
        "preprocessing.links",
        "preprocessing.records",
        "preprocessing.vector_files",
        # TFX asks for a training and a SavedModel in one function.
        "trainer.run_fn",
        # A model card and the explorer say what `evaluate` and `compare` say, and train nothing.
        "trainer.comparison",
        "trainer.evaluation",
        "trainer.examples",
        "trainer.metric_sums",
        "trainer.metrics",
        "trainer.model_kinds",
        "trainer.predictions",
        "trainer.run_folder",
        "trainer.significance",
    ),
    "examples": ("configs", "models", "preprocessing", "serving", "trainer"),
    "benchmarks": ("configs", "examples", "models", "preprocessing", "serving", "trainer"),
    "bazel": (),
    "docs": ("configs", "preprocessing.records"),
    "tests": (
        "bazel",
        "benchmarks",
        "configs",
        "docs",
        "examples",
        "models",
        "preprocessing",
        "reki",
        "serving",
        "trainer",
    ),
}

# What one module alone may import beyond its room's rule.
ALLOWED_IMPORTS_OF_MODULE: dict[str, tuple[str, ...]] = {
    # Pipelines that exist name trainer.run_fn.run_fn.
    "trainer.run_fn": ("serving.run_fn",),
}

# Folders and modules of preprocessing; each may import those before it, and none after it.
PREPROCESSING_ORDER = (
    "storage",
    "missing_answers",
    "records",
    "names",
    "inputs",
    "dead_letters",
    "beam_options",
    "beam_worker",
    "beam_runner",
    "beam_sinks",
    "steps",
    "downloading",
    "tables",
    "answers",
    "vector_files",
    "encoders",
    "prompt_templates",
    "interactions",
    "links",
    "grouping",
    "prompting",
    "generation",
    "knowledge",
    "examples_manifest",
    "examples",
    "encode",
    "inspection",
    "all_steps",
    "forgetting",
    "commands",
    "__main__",
)


def forbidden_imports(source: str, module: str) -> list[str]:
    """Our modules that a module must not import, each as 'line: name'."""
    room = module.split(".")[0]
    allowed = (room, *ALLOWED_IMPORTS[room], *ALLOWED_IMPORTS_OF_MODULE.get(module, ()))
    return [
        f"{line}: {name}"
        for name, line in imported_names(syntax_tree(source), module)
        if name.split(".")[0] in ALLOWED_IMPORTS
        and not any(name == prefix or name.startswith(f"{prefix}.") for prefix in allowed)
    ]


def imported_names(tree: ast.Module, module: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            origin = [*parents, *([node.module] if node.module else [])]
            for alias in node.names:
                yield ".".join([*origin, alias.name]), node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant):
                    yield str(argument.value), node.lineno


def imports_against_the_order(source: str, module: str) -> list[str]:
    """Modules of preprocessing that come after a module's own folder, each as 'line: name'."""
    place = PREPROCESSING_ORDER.index(module.split(".")[1])
    return [
        f"{line}: {name}"
        for name, line in imported_names(syntax_tree(source), module)
        if name.startswith("preprocessing.")
        and PREPROCESSING_ORDER.index(name.split(".")[1]) > place
    ]


@pytest.mark.parametrize("room", ALLOWED_IMPORTS)
def test_rooms_import_only_what_they_may(room: str, repository_root: Path) -> None:
    actual: list[str] = []
    for path in sorted((repository_root / room).rglob("*.py")):
        relative = path.relative_to(repository_root)
        module = ".".join(relative.with_suffix("").parts)
        problems = forbidden_imports(path.read_text(encoding="utf-8"), module)
        actual.extend(f"{relative}:{problem}" for problem in problems)
    allowed = ", ".join(ALLOWED_IMPORTS[room]) or "nothing of ours"
    assert not actual, f"{room} may import {allowed}; found:\n" + "\n".join(actual)


def test_folders_of_preprocessing_import_only_those_before_them(repository_root: Path) -> None:
    actual: list[str] = []
    for path in sorted((repository_root / "preprocessing").rglob("*.py")):
        relative = path.relative_to(repository_root)
        module = ".".join(relative.with_suffix("").parts)
        if module == "preprocessing.__init__":
            continue
        problems = imports_against_the_order(path.read_text(encoding="utf-8"), module)
        actual.extend(f"{relative}:{problem}" for problem in problems)
    assert not actual, "against PREPROCESSING_ORDER:\n" + "\n".join(actual)


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("preprocessing.interactions.k_core", "from preprocessing.prompting.step import x", 1),
        ("preprocessing.answers.formats", "from preprocessing import generation", 1),
        ("preprocessing.encoders.endpoint", "import preprocessing.generation.client", 1),
        ("preprocessing.storage", "def read():\n    from preprocessing.answers import record\n", 1),
        ("preprocessing.prompting.step", "from preprocessing.interactions.k_core import x", 0),
        ("preprocessing.answers.formats", "from preprocessing.answers.record import x", 0),
        ("preprocessing.encode", "import numpy\nfrom preprocessing.knowledge import x", 0),
    ],
)
def test_an_import_against_the_order_is_found(module: str, source: str, found: int) -> None:
    assert len(imports_against_the_order(source, module)) == found


def test_every_room_has_a_rule(repository_root: Path) -> None:
    rooms = {path.parent.name for path in repository_root.glob("*/__init__.py")}
    assert rooms <= ALLOWED_IMPORTS.keys()


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("models.hein", "import configs"),
        ("models.hein", "import tensorflow as tf\nfrom preprocessing.records import reader"),
        ("models.hein", "def build():\n    from trainer import loop\n"),
        ("models.backbones.din", "from ... import serving"),
        ("preprocessing.encode", "from models.hein import HybridExpertNetwork"),
        ("preprocessing.encode", "import importlib\nimportlib.import_module('trainer.loop')"),
        ("trainer.loop", "import preprocessing.pipeline"),
        ("trainer.loop", "from preprocessing import pipeline"),
        ("trainer.loop", "from preprocessing.records_extra import x"),
        ("serving.export", "import trainer"),
        ("serving.explore.session", "from trainer.training import train"),
        ("trainer.training", "from serving.export import export_run"),
        ("trainer.tfx.run_fn", "from serving.export import export_run"),
        ("trainer.run_fn", "from serving import export_run"),
        ("trainer.run_fn", "import serving.server.local_server"),
        ("configs.loading", "import examples.movielens_small.demo"),
        ("examples.demo", "from tests import conftest"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str) -> None:
    assert len(forbidden_imports(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("models.hein", "import numpy as np\nfrom models import layers\nfrom . import match"),
        ("preprocessing.encode", "from configs import loading\nfrom .records import writer"),
        ("trainer.loop", "from preprocessing.records import reader\nimport preprocessing.records"),
        ("trainer.loop", "from preprocessing import records\nimport models.hein, configs"),
        ("examples.demo", "import serving.export\nfrom trainer import loop"),
        (
            "serving.run_fn",
            "from serving.export import export_run\nfrom trainer.run_fn import FnArgs",
        ),
    ],
)
def test_a_right_import_passes(module: str, source: str) -> None:
    assert forbidden_imports(source, module) == []
