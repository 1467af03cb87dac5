from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.item_ids import KnowledgeIds, StoredIds, TrainedIds
from models.layer_support import precision
from tests.models.adapters.cases import stored_vectors, tables
from tests.models.builders import gradients_of, named_weights, randomise

WIDTH = 4
# Catalogue rows 0 to 6; items 2 and 5 never occurred in training.
EMBEDDING_ROWS = np.array([0, 2, 0, 1, 3, 0, 4], np.int32)
# Row 0 and item 3 are known to no source, items 1 and 5 to one, the others to both.
KNOWLEDGE_ROWS = {"item": [0, 4, 1, 0, 7, 0, 4], "user": [0, 0, 2, 0, 1, 3, 1]}


def trained() -> TrainedIds:
    rows = tf.Variable(EMBEDDING_ROWS, trainable=False)
    layer = TrainedIds(5, WIDTH, rows)
    randomise(layer.trainable_weights, seed=0)
    return layer


def knowledge(**given: Any) -> KnowledgeIds:
    rows = {source: np.array(source_rows) for source, source_rows in KNOWLEDGE_ROWS.items()}
    layer = KnowledgeIds(tables(user=3), rows, WIDTH, **given)
    layer(tf.constant([1]))
    randomise(layer.trainable_weights, seed=0)
    return layer


def stored() -> StoredIds:
    return StoredIds(np.random.default_rng(0).normal(size=[7, WIDTH]).astype(np.float32))


every_kind = pytest.mark.parametrize("make", [trained, knowledge, stored])


@every_kind
def test_all_have_one_interface(make: Any) -> None:
    layer = make()
    table = layer.table()
    assert table.shape == (7, WIDTH)
    assert table.dtype == np.float32
    assert layer.width == WIDTH
    np.testing.assert_array_equal(layer.default(), table[0])
    for rows in (3, [5], [[1, 2], [0, 6]], np.zeros([0, 3])):
        rows = np.array(rows, np.int32)
        vectors = layer(rows)
        assert vectors.shape == (*rows.shape, WIDTH)
        np.testing.assert_allclose(vectors, table[rows], atol=1e-6)


@every_kind
def test_graph_equals_eager_and_keeps_the_shape(make: Any) -> None:
    layer = make()

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.int32)], autograph=False)
    def in_graph(rows: tf.Tensor) -> tf.Tensor:
        vectors = layer(rows)
        assert vectors.shape.as_list() == [None, 2, WIDTH]
        return vectors

    np.testing.assert_allclose(in_graph([[1, 2]]), layer(tf.constant([[1, 2]])), atol=1e-6)


@every_kind
def test_mixed_precision_stays_close(make: Any) -> None:
    exact = make()
    with precision("mixed_bfloat16"):
        mixed = make()
        vectors, default, table = mixed(tf.range(7)), mixed.default(), mixed.table()
    assert vectors.dtype == default.dtype == tf.bfloat16
    assert table.dtype == np.float32
    np.testing.assert_allclose(tf.cast(vectors, tf.float32), exact.table(), atol=0.03)
    np.testing.assert_allclose(table, exact.table(), atol=0.03)


def test_trained_ids_are_embeddings_and_new_items_share_the_first() -> None:
    layer = trained()
    (embeddings,) = (weight.numpy() for weight in layer.trainable_weights)
    np.testing.assert_array_equal(layer.table(), embeddings[EMBEDDING_ROWS])
    np.testing.assert_array_equal(layer.default(), embeddings[0])
    (gradient,) = gradients_of(
        lambda: tf.reduce_sum(layer(tf.constant([1, 2]))), layer.trainable_weights
    )
    np.testing.assert_array_equal(gradient.any(axis=1), [True, False, True, False, False])


def test_first_embeddings_are_small_and_random() -> None:
    tf.keras.utils.set_random_seed(0)
    layer = TrainedIds(50, 40, tf.Variable([0, 1], trainable=False))
    assert np.std(layer.trainable_weights[0]) == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("standardized", [False, True])
def test_knowledge_ids_are_sums_of_projections(standardized: bool) -> None:
    layer = knowledge(standardized=standardized)
    weights = named_weights(layer)
    expected = np.zeros([7, WIDTH])
    for source, table in tables(user=3).items():
        vectors = stored_vectors(table)
        if standardized:
            vectors = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
        for item, row in enumerate(KNOWLEDGE_ROWS[source]):
            if row:
                expected[item] += (
                    vectors[row - 1] @ weights[f"{source}_kernel"] + weights[f"{source}_bias"]
                )
    expected[[0, 3]] = weights["item_default"]
    np.testing.assert_allclose(layer.table(), expected, atol=1e-5)


def test_projections_and_default_learn_and_nothing_else() -> None:
    layer = knowledge(standardized=True)
    weights = layer.trainable_weights
    assert len(weights) == 5
    gradients = gradients_of(
        lambda: tf.reduce_sum(tf.square(layer(tf.range(7), training=True))), weights
    )
    for weight, gradient in zip(weights, gradients, strict=True):
        assert np.abs(gradient).max() > 0, weight.name


def test_long_catalogues_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = knowledge()
    whole = layer.table()
    monkeypatch.setattr("models.vector_tables.CHUNK_ROWS", 3)
    np.testing.assert_allclose(layer.table(), whole, atol=1e-6)


@pytest.mark.parametrize("make", [trained, knowledge])
def test_a_checkpoint_restores_them(make: Any, tmp_path: Path) -> None:
    layer, other = make(), make()
    path = tf.train.Checkpoint(ids=layer).write(str(tmp_path / "weights"))
    randomise(other.trainable_weights, seed=5)
    assert np.abs(other.table() - layer.table()).max() > 0.1
    tf.train.Checkpoint(ids=other).read(path).assert_consumed()
    np.testing.assert_array_equal(other.table(), layer.table())


@every_kind
def test_an_export_inside_a_module_answers_alike(make: Any, tmp_path: Path) -> None:
    module = tf.Module()
    module.ids = layer = make()
    module.look_up = tf.function(
        lambda rows: layer(rows), input_signature=[tf.TensorSpec([None], tf.int32)], autograph=False
    )
    tf.saved_model.save(module, str(tmp_path))
    reloaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(reloaded.look_up(tf.range(7)), layer.table(), atol=1e-6)


def test_stored_ids_answer_like_those_they_come_from() -> None:
    layer = knowledge()
    exported = StoredIds(layer.table())
    assert exported.trainable_weights == []
    np.testing.assert_array_equal(exported(tf.range(7)), layer.table())
    half = StoredIds(layer.table(), "float16")
    assert half(tf.range(7)).dtype == tf.float32
    np.testing.assert_array_equal(half.table(), layer.table().astype(np.float16))


def test_tables_and_rows_must_fit() -> None:
    message = r"tables of \['item', 'user'\], rows of \['item'\]"
    with pytest.raises(ValueError, match=message):
        KnowledgeIds(tables(), {"item": np.zeros(3, np.int32)}, WIDTH)
    with pytest.raises(ValueError, match="at least one"):
        KnowledgeIds({}, {}, WIDTH)
