"""What every adapter must do, whatever its formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.adapters import ADAPTERS
from models.adapters.base import KnowledgeAdapter
from models.adapters.stored import AugmentedTables
from tests.models.adapters.cases import (
    ROWS,
    WIDTH,
    adapter,
    default_vector,
    options,
    rows_of,
    tables,
)
from tests.models.builders import gradients_of

every_adapter = pytest.mark.parametrize("name", ADAPTERS)


def every_row() -> dict[str, tf.Tensor]:
    return rows_of(list(range(ROWS["item"])), list(range(ROWS["user"])))


@every_adapter
@pytest.mark.parametrize("standardized", [False, True])
def test_rows_of_any_shape_give_the_vectors_of_each_row_alone(
    name: str, standardized: bool
) -> None:
    layer = adapter(name, standardized_knowledge=standardized)
    rows = rows_of([[3, 1, 3], [6, 3, 0]], [[[2]], [[2]], [[4]]])
    outputs = layer(rows)
    assert tuple(outputs) == layer.sources == ("item", "user")
    for source, of_source in rows.items():
        assert outputs[source].shape == (*of_source.shape, layer.width)
        assert layer.width == WIDTH
        flat = np.reshape(outputs[source], [-1, WIDTH])
        for row, vector in zip(np.ravel(of_source), flat, strict=True):
            alone = layer({source: tf.constant([row], tf.int32)})[source]
            assert alone.shape == (1, WIDTH)
            np.testing.assert_allclose(vector, alone[0], atol=1e-6)


@every_adapter
@pytest.mark.parametrize("standardized", [False, True])
def test_vectors_of_new_entities_are_augmented_as_those_of_known_ones(
    name: str, standardized: bool
) -> None:
    layer = adapter(name, standardized_knowledge=standardized)
    known = layer(every_row())
    for source, count in (("item", ROWS["item"]), ("user", ROWS["user"])):
        vectors = layer.tables[source].vectors(tf.range(1, count))
        found = layer.augment_vectors(source, vectors)
        assert found.shape == (count - 1, WIDTH)
        np.testing.assert_allclose(found, known[source][1:], atol=1e-6)
        one = layer.augment_vectors(source, vectors[2:3])
        np.testing.assert_allclose(one, known[source][3:4], atol=1e-6)


@every_adapter
def test_a_call_may_name_some_sources_only(name: str) -> None:
    layer, rows = adapter(name), rows_of([[5, 0]], [1, 2])
    together = layer(rows)
    for source, of_source in rows.items():
        alone = layer({source: of_source})
        assert tuple(alone) == (source,)
        np.testing.assert_allclose(alone[source], together[source], atol=1e-6)
    with pytest.raises(ValueError, match=r"no table for \['brand'\], only for \['item', 'user'\]"):
        layer({"brand": rows["item"]})


@every_adapter
def test_no_rows_give_no_vectors(name: str) -> None:
    outputs = adapter(name)(rows_of(np.zeros([2, 0]), [1]))
    assert outputs["item"].shape == (2, 0, WIDTH)
    assert outputs["user"].shape == (1, WIDTH)


@every_adapter
def test_row_0_gives_the_trained_default_and_other_rows_differ(name: str) -> None:
    layer = adapter(name)
    outputs = layer(rows_of([0, 2, 0, 3], [0, 0, 1]))
    for source, missing in (("item", [0, 2]), ("user", [0, 1])):
        default = default_vector(layer, source)
        assert np.abs(default).min() > 0
        np.testing.assert_array_equal(tf.gather(outputs[source], missing), [default, default])
    assert np.abs(outputs["item"][1] - default_vector(layer, "item")).max() > 1e-3
    assert np.abs(outputs["item"][1] - outputs["item"][3]).max() > 1e-3


@every_adapter
def test_defaults_are_zero_at_first(name: str) -> None:
    fresh = ADAPTERS[name](options(), tables())
    np.testing.assert_array_equal(fresh(rows_of([0], [0]))["item"], np.zeros([1, WIDTH]))


@every_adapter
@pytest.mark.parametrize("standardized", [False, True])
def test_every_trainable_weight_learns_and_no_frozen_one(name: str, standardized: bool) -> None:
    layer = adapter(name, standardized_knowledge=standardized)
    rows = every_row()

    def loss() -> tf.Tensor:
        outputs = layer(rows, training=True)
        return tf.add_n([tf.reduce_sum(tf.square(vectors)) for vectors in outputs.values()])

    weights = layer.trainable_weights
    frozen = [weight.numpy() for weight in layer.non_trainable_weights]
    for weight, gradient in zip(weights, gradients_of(loss, weights), strict=True):
        assert gradient is not None, weight.name
        assert np.abs(gradient).max() > 0, weight.name
    optimizer = tf.keras.optimizers.Adam(0.1)
    optimizer.minimize(loss, weights)
    for weight, before in zip(layer.non_trainable_weights, frozen, strict=True):
        np.testing.assert_array_equal(weight, before)
    trained = {weight.ref() for weight in weights}
    assert not any(
        weight.ref() in trained for table in layer.tables.values() for weight in table.weights
    )


@every_adapter
def test_knowledge_is_hidden_in_training_only(name: str) -> None:
    layer = adapter(name, knowledge_dropout_rate=0.3)
    rows = rows_of([[2] * 1000] * 2, [1] * 2000)
    plain = adapter(name)(rows)
    for training in (None, False):
        np.testing.assert_array_equal(layer(rows, training=training)["item"], plain["item"])
    tf.keras.utils.set_random_seed(0)
    for source, vectors in layer(rows, training=True).items():
        hidden = np.isclose(vectors, default_vector(layer, source)).all(axis=-1)
        # Three standard deviations of a share of 0.3 among 2,000.
        assert hidden.mean() == pytest.approx(0.3, abs=0.031)
        np.testing.assert_allclose(vectors[~hidden], plain[source][~hidden], atol=1e-6)


def test_nothing_is_hidden_at_rate_0() -> None:
    layer, rows = adapter("hein"), rows_of([2] * 50, [1] * 50)
    np.testing.assert_array_equal(layer(rows, training=True)["item"], layer(rows)["item"])


@every_adapter
def test_augmented_tables_are_the_outputs_of_every_row(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = adapter(name, knowledge_dropout_rate=0.9)
    outputs = layer(every_row())
    for chunk in (8192, 5):
        monkeypatch.setattr("models.vector_tables.CHUNK_ROWS", chunk)
        stored = layer.augmented_tables()
        assert tuple(stored) == layer.sources
        for source, rows in ROWS.items():
            assert stored[source].shape == (rows, WIDTH)
            assert stored[source].dtype == np.float32
            np.testing.assert_allclose(stored[source], outputs[source], atol=1e-6)
            np.testing.assert_array_equal(stored[source][0], default_vector(layer, source))


@every_adapter
def test_stored_tables_answer_like_the_adapter(name: str) -> None:
    layer, rows = adapter(name), rows_of([[0, 4], [4, 6]], [0, 3])
    stored = AugmentedTables(layer.augmented_tables())
    for source, vectors in layer(rows).items():
        np.testing.assert_allclose(stored(rows)[source], vectors, atol=1e-6)


@every_adapter
def test_graph_equals_eager(name: str) -> None:
    layer, rows = adapter(name), rows_of([[1, 0], [3, 1]], [2])
    specifications = {
        "item": tf.TensorSpec([None, 2], tf.int32),
        "user": tf.TensorSpec([None], tf.int32),
    }

    @tf.function(input_signature=[specifications])
    def in_graph(given: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs = layer(given)
        assert outputs["item"].shape.as_list() == [None, 2, WIDTH]
        assert outputs["user"].shape.as_list() == [None, WIDTH]
        return outputs

    for source, vectors in in_graph(rows).items():
        np.testing.assert_allclose(vectors, layer(rows)[source], atol=1e-6)


@every_adapter
@pytest.mark.parametrize("standardized", [False, True])
def test_a_checkpoint_restores_trained_and_frozen_weights(
    name: str, standardized: bool, tmp_path: Path
) -> None:
    layer = adapter(name, standardized_knowledge=standardized)
    path = tf.train.Checkpoint(adapter=layer).write(str(tmp_path / "weights"))
    other = adapter(name, standardized_knowledge=standardized)
    for weight in other.weights:
        if weight.dtype == tf.float32:
            weight.assign(tf.zeros_like(weight))
    assert np.abs(other(every_row())["item"] - layer(every_row())["item"]).max() > 1e-3
    status = tf.train.Checkpoint(adapter=other).read(path)
    status.assert_consumed()
    for source, vectors in layer(every_row()).items():
        np.testing.assert_array_equal(other(every_row())[source], vectors)


@every_adapter
@pytest.mark.parametrize("standardized", [False, True])
def test_mixed_precision_stays_close(name: str, standardized: bool) -> None:
    exact = adapter(name, standardized_knowledge=standardized)
    try:
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
        mixed = adapter(name, standardized_knowledge=standardized)
        mixed.set_weights(exact.get_weights())
        outputs = mixed(every_row(), training=True)
        stored = mixed.augmented_tables()
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    for source, vectors in exact(every_row()).items():
        assert outputs[source].dtype == tf.bfloat16
        assert stored[source].dtype == np.float32
        np.testing.assert_allclose(tf.cast(outputs[source], tf.float32), vectors, atol=0.05)
        np.testing.assert_allclose(stored[source], vectors, atol=0.05)
    assert {weight.dtype for weight in mixed.trainable_weights} == {tf.float32}


@every_adapter
def test_equal_tables_and_seeds_give_equal_adapters(name: str) -> None:
    one, other = adapter(name), adapter(name)
    for weight, again in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(weight, again)


def test_an_adapter_needs_a_source() -> None:
    with pytest.raises(ValueError, match="at least one source"):
        KnowledgeAdapter({}, WIDTH)
