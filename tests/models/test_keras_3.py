"""The layers of `reki` in Keras 3: the numbers of Keras 2, built, trained, saved and reloaded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.scenarios import tiny_scenario

IDS = [f"item {number}" for number in range(30)]
MATCHES = [
    # kind, form, learned, with folds
    ("means", "low_rank", False, False),
    ("means", "low_rank", True, True),
    ("ridge", "low_rank", False, True),
    ("ridge", "low_rank", True, True),
    ("ridge", "exact", True, False),
]
IN_KERAS_3 = """
import sys
from pathlib import Path

import reki
assert "tensorflow" not in sys.modules
from tests.models.test_keras_3 import match_features, model_outputs

folder = Path(sys.argv[1])
import keras
assert isinstance(reki.KnowledgeTable("item", ["1"], [[1.0]]), keras.layers.Layer)
import numpy as np
np.savez(folder / "match.npz", **match_features())
np.savez(folder / "model.npz", **model_outputs(folder))

page = {}
exec((folder / "page.py").read_text(), page)
ids = np.asarray(["1", "2", "41", "unseen"])
history = np.resize([*ids, ""], [4, 30])
arrays = ids, history, np.full([4, 30], 4.0), np.ones([4, 30])
inputs = [*map(keras.ops.convert_to_tensor, arrays)]
page["model"].save(folder / "page.keras")
again = keras.models.load_model(folder / "page.keras", compile=False)
np.savez(folder / "page.npz", scores=page["model"](inputs), reloaded=again(inputs))
try:
    import models.backbones.din
except ImportError as error:
    print(error)
"""


def item_vectors(seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=[len(IDS), 12]).astype(np.float32)
    vectors[3] = 0.0
    return vectors


def histories() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    residuals = random.normal(size=[6, 9]).astype(np.float32)
    return {
        "candidate_rows": random.integers(0, len(IDS) + 1, size=[6, 4], dtype=np.int32),
        "history_rows": random.integers(0, len(IDS) + 1, size=[6, 9], dtype=np.int32),
        "history_residuals": residuals,
        "history_liked": (residuals > 0).astype(np.float32),
        "history_mask": random.random([6, 9]) > 0.2,
    }


def match_features() -> dict[str, np.ndarray]:
    """Features of every kind of match, in the Keras of this process."""
    from configs.model import Match
    from reki import KnowledgeMatch

    collected = {}
    for kind, form, learned, has_folds in MATCHES:
        options = Match(form=form, learned=learned, dimension=8)
        of_folds = [item_vectors(seed) for seed in (7, 8)] if has_folds else ()
        layer = KnowledgeMatch.from_vectors(kind, item_vectors(0), options, of_folds)
        folds = np.asarray([0, 1, 1, 0, 1, 0], np.int32) if has_folds else None
        name = f"{kind}, {form}, {learned}, {has_folds}"
        collected[name] = np.asarray(layer(**histories(), folds=folds))
    return collected


def model_outputs(folder: Path | None = None) -> dict[str, np.ndarray]:
    """Scores of a model with all layers in the Keras of this process; saved into a folder, too."""
    import tensorflow as tf

    from configs.model import Match
    from reki import HybridExpertNetwork, KnowledgeMatch, KnowledgeTable

    keras = tf.keras
    vectors = item_vectors(0)
    item = keras.Input([], dtype="string", name="item_id")
    history = keras.Input([5], dtype="string", name="history")
    others = [keras.Input([5], name=name) for name in ("residuals", "liked")]
    mask = keras.Input([5], dtype="bool", name="mask")
    table = KnowledgeTable("item", IDS, vectors)
    network = HybridExpertNetwork(sources=("item",), expert_units=(8, 4))
    match = KnowledgeMatch.from_vectors("ridge", vectors, Match(learned=True, dimension=8))
    fields = [
        network({"item": table(item)})["item"],
        match(table.rows(item), table.rows(history), *others, mask),
    ]
    score = keras.layers.Dense(1, kernel_initializer="ones")(keras.layers.Concatenate()(fields))
    model = keras.Model([item, history, *others, mask], score)
    for weight in network.weights:
        # Both name weights alike, but for what stands around the name.
        name = weight.name.rsplit("/", 1)[-1].removesuffix(":0")
        random = np.random.default_rng(zlib.crc32(name.encode()))
        weight.assign(random.normal(scale=0.3, size=weight.shape).astype(np.float32))

    random = np.random.default_rng(2)
    residuals = random.normal(size=[16, 5]).astype(np.float32)
    arrays = {
        "item_id": random.choice([*IDS, "unseen"], size=[16]),
        "history": random.choice([*IDS, "unseen"], size=[16, 5]),
        "residuals": residuals,
        "liked": (residuals > 0).astype(np.float32),
        "mask": random.random([16, 5]) > 0.2,
    }
    inputs = [*map(tf.constant, arrays.values())]
    built = np.asarray(model(inputs))
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    labels = tf.constant(random.normal(size=[16, 1]).astype(np.float32))
    data = tf.data.Dataset.from_tensors((tuple(inputs), labels))
    loss = model.fit(data, epochs=3, shuffle=False, verbose=0).history["loss"]
    outputs = {
        "built": built,
        "loss": np.asarray(loss),
        "trained": np.asarray(model(inputs)),
        "trainable": np.asarray(len(model.trainable_variables)),
    }
    if folder is not None:
        model.save(folder / "model.keras")
        model.export(str(folder / "1"))
        served = tf.saved_model.load(str(folder / "1")).signatures["serving_default"]
        (from_folder,) = served(**dict(zip(arrays, inputs, strict=True))).values()
        outputs["served"] = np.asarray(from_folder)
        outputs["reloaded"] = np.asarray(keras.models.load_model(folder / "model.keras")(inputs))
    return outputs


@pytest.fixture(scope="module")
def in_keras_3(tmp_path_factory: pytest.TempPathFactory, repository_root: Path) -> tuple[Path, str]:
    """Folder of what another process computed, and what it printed."""
    folder = tmp_path_factory.mktemp("keras_3")
    page = (repository_root / "docs/own_model.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^## In Keras 3\n.*?```python\n(.*?)```", page, re.M | re.S)
    code = code.replace("out/movielens_small", tiny_scenario().work_dir)
    (folder / "page.py").write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(repository_root)}
    del environment["TF_USE_LEGACY_KERAS"]
    done = subprocess.run(
        [sys.executable, "-c", IN_KERAS_3, str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "UserWarning" not in done.stderr, done.stderr
    return folder, done.stdout


def test_match_has_the_features_of_keras_2(in_keras_3: tuple[Path, str]) -> None:
    features, expected = np.load(in_keras_3[0] / "match.npz"), match_features()
    assert {*features} == {*expected}
    for name, value in expected.items():
        assert np.ptp(value) > 0.1
        np.testing.assert_allclose(features[name], value, rtol=0, atol=1e-6, err_msg=name)


def test_a_model_learns_as_in_keras_2_and_is_saved(in_keras_3: tuple[Path, str]) -> None:
    found, expected = np.load(in_keras_3[0] / "model.npz"), model_outputs()
    for name in ("built", "loss", "trained"):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-5, err_msg=name)
    assert found["trainable"] == expected["trainable"]
    assert found["loss"][-1] < 0.9 * found["loss"][0]
    for form in ("reloaded", "served"):
        np.testing.assert_allclose(found[form], found["trained"], rtol=0, atol=1e-6, err_msg=form)


def test_the_model_of_the_page(in_keras_3: tuple[Path, str]) -> None:
    found = np.load(in_keras_3[0] / "page.npz")
    assert np.ptp(found["scores"]) > 1e-3
    np.testing.assert_allclose(found["reloaded"], found["scores"], rtol=0, atol=1e-6)


def test_ranking_models_refuse_keras_3(in_keras_3: tuple[Path, str]) -> None:
    assert (
        "set the environment variable TF_USE_LEGACY_KERAS=1 before TensorFlow is" in in_keras_3[1]
    )
