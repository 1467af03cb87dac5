"""Runs the code of docs/own_model.md and docs/overview.md over a tiny scenario."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.match import KnowledgeMatch
from tests.scenarios import ITEMS, USERS, tiny_scenario

WORK_DIRECTORIES = ("out/movielens_small", "out/demo")
"""What stands in the code in place of the tiny scenario's."""

COUNT = 16
Tensors = Mapping[str, tf.Tensor]

SCORE_AGAIN = """
import os
import runpy
import sys

import models.layers
import numpy as np
import tensorflow as tf

assert tf.keras.layers.Layer.__module__.startswith("tf_keras.")

for folder in sys.argv[1:]:
    os.chdir(folder)
    features = {name: tf.constant(value) for name, value in np.load("features.npz").items()}
    served = tf.saved_model.load("ranker/1").signatures["serving_default"]
    served_scores, = served(**features).values()
    from_file = runpy.run_path("reload.py")["again"]
    from_folder = tf.keras.models.load_model("ranker/1")
    np.savez("scores.npz", keras=from_file(features), folder=from_folder(features),
             served=served_scores)
"""


@dataclass(frozen=True)
class Case:
    """A model of the page.

    Attributes:
      heading: of its section.
      features: makes a batch of its inputs.
      constructor: its call, where the section defines a class and not a model.
    """

    heading: str
    features: Callable[[], Tensors]
    constructor: str = ""


def entity_features() -> Tensors:
    return {
        "user_id": tf.constant([*USERS[-COUNT + 1 :], "stranger"]),
        "item_id": tf.constant(["unseen", *ITEMS[-COUNT + 1 :]]),
    }


def history_features() -> Tensors:
    random = np.random.default_rng(0)
    history = random.choice([*ITEMS, "", "unseen"], size=[COUNT, 5])
    history[0] = ""
    return {
        "item_id": tf.constant(["unseen", *ITEMS[-COUNT + 1 :]]),
        "history": tf.constant(history),
        "ratings": tf.constant(random.integers(1, 6, size=[COUNT, 5]), tf.float32),
        "item_means": tf.constant(random.uniform(3, 4, size=[COUNT, 5]), tf.float32),
    }


CASES = {
    "tfrs": Case(
        "A TensorFlow Recommenders model",
        entity_features,
        f"model = RatingModel({list(USERS)}, {list(ITEMS)}, 'out/movielens_small')",
    ),
    "functional": Case("A functional Keras model", entity_features),
    "match": Case("Knowledge match", history_features),
}


@pytest.fixture(scope="module")
def page(repository_root: Path) -> str:
    return (repository_root / "docs/own_model.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def overview_code(repository_root: Path) -> str:
    overview = (repository_root / "docs/overview.md").read_text(encoding="utf-8")
    section = section_of(overview, "In a model of your own")
    lines = re.findall(r"^    (.*)$|^$", section, re.MULTILINE)
    return "\n".join(lines).strip()


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], ModuleType]:
    """Imports code as a module, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def write_and_import(code: str) -> ModuleType:
        file = tmp_path / "own_model_of_the_page.py"
        file.write_text(with_work_directory(code), encoding="utf-8")
        specification = importlib.util.spec_from_file_location(file.stem, file)
        assert specification is not None and specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module

    return write_and_import


def section_of(text: str, heading: str) -> str:
    collected = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert collected is not None, f"there is no section '{heading}'"
    return collected[1]


def blocks_of(page: str, heading: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", section_of(page, heading), re.DOTALL)


def with_work_directory(code: str) -> str:
    for directory in WORK_DIRECTORIES:
        code = code.replace(directory, tiny_scenario().work_dir)
    return code


def code_of(page: str, case: Case) -> str:
    (block,) = blocks_of(page, case.heading)
    return f"{block}\n{case.constructor}\n"


def as_array(value: tf.Tensor) -> np.ndarray:
    """The values, strings as NumPy stores them without pickling."""
    return value.numpy().astype(str) if value.dtype == tf.string else value.numpy()


def built(page: str, case: Case, load: Callable[[str], ModuleType]) -> tf.keras.Model:
    tf.keras.utils.set_random_seed(1)
    model = load(code_of(page, case)).model
    if case.constructor:
        model.compile(optimizer=tf.keras.optimizers.Adam(0.01))
    model(case.features())
    return model


@pytest.mark.parametrize("name", CASES)
def test_knowledge_takes_at_most_10_lines_of_a_model(page: str, name: str) -> None:
    lines = code_of(page, CASES[name]).splitlines()
    marked = [line for line in lines if line.endswith("  # knowledge")]
    assert 5 <= len(marked) <= 10
    # Nothing of this project comes in by an unmarked line.
    others = "\n".join(line for line in lines if line not in marked)
    assert not re.search(
        r"(from|import) (reki|models|configs|preprocessing)|read_knowledge|Table|Match", others
    )


@pytest.mark.parametrize("name", ["tfrs", "functional"])
def test_the_model_learns_with_knowledge_leaves_it_as_it_is_and_scores_by_it(
    page: str, name: str, load: Callable[[str], ModuleType]
) -> None:
    model = built(page, CASES[name], load)
    tables = [weight for weight in model.weights if weight.dtype == tf.float16]
    assert sorted(weight.shape.as_list() for weight in tables) == [[37, 12], [46, 12]]
    before = [weight.numpy() for weight in model.weights]
    labels = tf.constant([0.0, 1.0] * (COUNT // 2))
    history = model.fit(
        tf.data.Dataset.from_tensors((CASES[name].features(), labels)), epochs=15, verbose=0
    )
    assert history.history["loss"][-1] < 0.9 * history.history["loss"][0]
    for weight, value in zip(model.weights, before, strict=True):
        assert (not np.array_equal(weight, value)) == weight.trainable, weight.name
    features = CASES[name].features()
    with_knowledge = model(features).numpy()
    for table in tables:
        table.assign(tf.zeros_like(table))
    assert np.abs(model(features) - with_knowledge).max() > 1e-3


def test_match_in_an_own_model_gives_the_features_of_the_layer(
    page: str, load: Callable[[str], ModuleType]
) -> None:
    module = load(code_of(page, CASES["match"]))
    features = history_features()
    table, mask = module.table, features["history"] != ""
    layer = KnowledgeMatch.from_vectors("ridge", table.vectors(tf.range(1, table.num_rows)).numpy())
    expected = layer(
        table.rows(features["item_id"]),
        table.rows(features["history"]),
        features["ratings"] - features["item_means"],
        tf.cast(features["ratings"] >= 4, tf.float32),
        mask,
    )
    inner = tf.keras.Model(module.model.inputs, module.features)
    np.testing.assert_allclose(inner(features), expected, atol=1e-6)
    assert np.ptp(expected, axis=0).min() > 1e-2
    assert all(weight.dtype != tf.float16 for weight in module.model.weights)
    labels = tf.constant([0.0, 1.0] * (COUNT // 2))
    data = tf.data.Dataset.from_tensors((features, labels))
    history = module.model.fit(data, epochs=10, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]


@pytest.mark.parametrize(
    "names", [("tfrs", "match"), pytest.param(("functional",), marks=pytest.mark.slow)]
)
def test_models_score_alike_after_reloading_where_nobody_asked_for_legacy_keras(
    page: str,
    names: tuple[str, ...],
    load: Callable[[str], ModuleType],
    tmp_path: Path,
    repository_root: Path,
) -> None:
    expected = {}
    saving, reloading = blocks_of(page, "Saving")
    for name in names:
        case = CASES[name]
        model, features = built(page, case, load), case.features()
        labels = tf.constant([0.0, 1.0] * (COUNT // 2))
        model.fit(tf.data.Dataset.from_tensors((features, labels)), verbose=0)
        expected[name] = model(features).numpy()
        folder = tmp_path / name
        folder.mkdir()
        os.chdir(folder)
        (folder / "save.py").write_text(saving, encoding="utf-8")
        runpy.run_path("save.py", {"model": model})
        arrays: dict[str, Any] = {key: as_array(value) for key, value in features.items()}
        np.savez("features.npz", **arrays)
        # A subclassed model's own class must be there, as ever in Keras.
        own = blocks_of(page, case.heading)[0] if case.constructor else ""
        (folder / "reload.py").write_text(f"{own}\n{reloading}", encoding="utf-8")
    subprocess.run(
        [sys.executable, "-c", SCORE_AGAIN, *(str(tmp_path / name) for name in names)],
        check=True,
        env={"PYTHONPATH": str(repository_root), "TF_CPP_MIN_LOG_LEVEL": "2"},
        timeout=300,
    )
    for name, scores in expected.items():
        assert np.ptp(scores) > 1e-3, name
        again = np.load(tmp_path / name / "scores.npz")
        assert sorted(again) == ["folder", "keras", "served"]
        for form, form_scores in again.items():
            np.testing.assert_allclose(form_scores, scores, atol=1e-6, err_msg=f"{name} {form}")


def test_the_readme_shows_it_in_at_most_10_lines(
    overview_code: str, load: Callable[[str], ModuleType]
) -> None:
    assert len([line for line in overview_code.splitlines() if line.strip()]) <= 10
    augmented = load(overview_code).augmented
    assert {source: tuple(vectors.shape) for source, vectors in augmented.items()} == {
        "user": (None, 32),
        "item": (None, 32),
    }
