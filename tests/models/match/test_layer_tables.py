from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from configs.model import Match
from models.match import KnowledgeMatch
from tests.models.builders import gradients_of
from tests.models.match.histories import (
    VARIANTS,
    candidate_rows,
    histories,
    item_vectors,
    matcher,
    variant_name,
)

variants = pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
FOLDS = np.stack([item_vectors(seed) for seed in (7, 8)])
LEARNED = [variant for variant in VARIANTS if variant["learned"]]


@variants
def test_training_samples_read_the_tables_of_their_folds(variant: dict[str, Any]) -> None:
    layer, candidates, history = matcher(**variant, folds=FOLDS), candidate_rows(6), histories(6, 7)
    folds = np.array([0, 1, 1, 0, 1, 0], np.int32)
    features = layer(candidates, **history, folds=folds).numpy()
    for fold, vectors in enumerate(FOLDS):
        rows = folds == fold
        own = {name: value[rows] for name, value in history.items()}
        expected = matcher(**variant, vectors=vectors)(candidates[rows], **own)
        # Fold tables are float16.
        np.testing.assert_allclose(features[rows], expected, atol=5e-3)
    everything = matcher(**variant)(candidates, **history)
    np.testing.assert_allclose(layer(candidates, **history), everything, atol=1e-5)
    assert np.abs(features - everything).max() > 0.1


@variants
def test_items_without_a_vector_in_a_fold_are_missing_there(variant: dict[str, Any]) -> None:
    folds = FOLDS.copy()
    folds[1, 4] = 0
    layer = matcher(**variant, folds=folds)
    history = histories(2, 3)
    history["history_mask"][:] = True
    history["history_rows"][:] = [5, 2, 5]
    without = {name: value[:, 1:2] for name, value in history.items()}
    second = np.array([1, 1])
    np.testing.assert_allclose(
        layer(np.array([3, 5]), **history, folds=second),
        layer(np.array([3, 5]), **without, folds=second),
        atol=1e-6,
    )
    assert not layer(np.array([3, 5]), **history, folds=second)[1].numpy().any()
    assert layer(np.array([3, 5]), **history, folds=1 - second)[1].numpy().any()


@pytest.mark.parametrize("variant", LEARNED, ids=variant_name)
def test_gradients_reach_the_parameters_through_fold_tables(variant: dict[str, Any]) -> None:
    layer, history = matcher(**variant, folds=FOLDS), histories(6, 7)
    folds = np.array([0, 1, 1, 0, 1, 0])
    for gradient in gradients_of(
        lambda: tf.reduce_sum(layer(np.arange(1, 7), **history, folds=folds)),
        layer.trainable_weights,
    ):
        assert np.isfinite(gradient).all()
        assert np.all(gradient != 0)


@variants
def test_an_export_drops_the_fold_tables_and_nothing_else(variant: dict[str, Any]) -> None:
    layer, candidates, history = matcher(**variant, folds=FOLDS), candidate_rows(4), histories(4, 5)
    for weight in layer.trainable_weights:
        weight.assign_add(tf.fill(weight.shape, 0.3))
    expected = layer(candidates, **history)
    assert layer.has_folds
    layer.store("knowledge/item/match", tf.float32)
    assert not layer.has_folds
    names = {variable.name for variable in layer.variables}
    assert not {name for name in names if "fold" in name or "basis" in name}
    assert {"knowledge/item/match/table:0", "knowledge/item/match/slots:0"} <= names
    np.testing.assert_array_equal(layer(candidates, **history), expected)


@variants
def test_new_items_are_reduced_as_the_table_was(variant: dict[str, Any]) -> None:
    layer = matcher(**variant, dimension=4)
    extended = KnowledgeMatch.from_vectors(
        layer.kind,
        item_vectors(),
        Match(dimension=4, **{k: v for k, v in variant.items() if k != "kind"}),
    )
    (table,) = (weight for weight in extended.weights if weight.name == "table:0")
    np.testing.assert_allclose(layer.reduce(item_vectors()), table[1:], atol=1e-6)
    assert not layer.reduce(np.zeros([1, 6])).any()


@variants
def test_new_items_fit_a_table_that_its_folds_made_wider(variant: dict[str, Any]) -> None:
    few = item_vectors()[[0, 1, 2, 3] * 3]
    layer = matcher(**variant, vectors=few, folds=FOLDS)
    (table,) = (weight for weight in layer.weights if weight.name == "table:0")
    np.testing.assert_allclose(layer.reduce(few), table[1:], atol=1e-6)
    history, candidates = histories(5, 6), np.arange(1, 6)
    expected = matcher(**variant, vectors=few)(candidates, **history)
    np.testing.assert_allclose(layer(candidates, **history), expected, atol=1e-4)


@variants
def test_the_configuration_and_weights_make_the_layer_again(
    variant: dict[str, Any], tmp_path: Path
) -> None:
    layer, history = matcher(**variant, folds=FOLDS), histories(3, 4)
    candidates, folds = np.array([1, 2, 3], np.int32), np.array([0, 1, 1], np.int32)
    for weight in layer.trainable_weights:
        weight.assign_add(tf.fill(weight.shape, 0.3))
    expected = layer(candidates, **history, folds=folds)
    again = KnowledgeMatch.from_config(layer.get_config())
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(candidates, **history, folds=folds), expected)
    restored = KnowledgeMatch.from_config(layer.get_config())
    path = tf.train.Checkpoint(match=layer).write(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(match=restored).read(path).assert_consumed()
    np.testing.assert_array_equal(restored(candidates, **history, folds=folds), expected)


@pytest.mark.parametrize("suffix", [".keras", ""])
def test_a_functional_model_saves_and_reloads_it(suffix: str, tmp_path: Path) -> None:
    layer, history = matcher("ridge", learned=True), histories(3, 4)
    inputs = [
        tf.keras.Input([], dtype=tf.int32),
        *(tf.keras.Input([4], dtype=tf.as_dtype(value.dtype)) for value in history.values()),
    ]
    model = tf.keras.Model(inputs, layer(*inputs))
    arguments = [np.array([1, 2, 3], np.int32), *history.values()]
    model.save(tmp_path / f"model{suffix}")
    again = tf.keras.models.load_model(tmp_path / f"model{suffix}")
    np.testing.assert_allclose(again(arguments), model(arguments), atol=1e-6)
