from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.adapter import AugmentedTables, HybridExpertAdapter
from models.hein import HybridExpertNetwork
from models.knowledge import KnowledgeTable
from tests.models.builders import gradients_of, knowledge_records, randomise

ROWS = {"item": 7, "user": 4}


def adapter(**options: Any) -> HybridExpertAdapter:
    """Item table of 6 vectors, user table of 3; weights and defaults are random."""
    tables = {
        source: KnowledgeTable.from_records(
            source, knowledge_records([f"{source}{i}" for i in range(rows - 1)], 5, seed=rows)
        )
        for source, rows in ROWS.items()
    }
    network = HybridExpertNetwork(("item", "user"), 1, 2, (6, 3))
    layer = HybridExpertAdapter(tables, network, **options)
    layer(rows_of([1], [1]))
    randomise(layer.trainable_weights, seed=0)
    return layer


def rows_of(item: list[int], user: list[int]) -> dict[str, tf.Tensor]:
    return {"item": tf.constant(item, tf.int32), "user": tf.constant(user, tf.int32)}


def default_vector(layer: HybridExpertAdapter, source: str) -> np.ndarray:
    (weight,) = (w for w in layer.trainable_weights if f"default_{source}" in w.name)
    return weight.numpy()


def test_equals_the_network_sample_by_sample() -> None:
    layer = adapter()
    rows = rows_of([3, 1, 3, 6, 3, 1], [2, 2, 1, 3, 3, 2])
    outputs = layer(rows)
    assert tuple(outputs) == layer.sources == ("item", "user")
    for sample in range(6):
        alone = layer.network(
            {
                source: layer.tables[source].vectors(rows[source][sample : sample + 1])
                for source in rows
            }
        )
        for source in rows:
            np.testing.assert_allclose(outputs[source][sample], alone[source][0], atol=1e-6)


def test_sources_may_have_different_batch_sizes() -> None:
    layer = adapter()
    outputs = layer(rows_of([1, 2, 2, 5], [3]))
    assert {source: vectors.shape for source, vectors in outputs.items()} == {
        "item": (4, layer.width),
        "user": (1, layer.width),
    }
    np.testing.assert_allclose(outputs["user"], layer(rows_of([1], [3]))["user"], atol=1e-6)


def test_row_0_gives_the_trained_default() -> None:
    layer = adapter()
    outputs = layer(rows_of([0, 2, 0], [0, 0, 1]))
    for source, missing in (("item", [0, 2]), ("user", [0, 1])):
        default = default_vector(layer, source)
        assert np.abs(default).min() > 0
        np.testing.assert_array_equal(tf.gather(outputs[source], missing), [default, default])
    assert np.abs(outputs["item"][1] - default_vector(layer, "item")).max() > 1e-3


def test_defaults_and_network_learn_and_tables_do_not() -> None:
    layer = adapter()

    def loss() -> tf.Tensor:
        outputs = layer(rows_of([0, 2, 3, 5], [0, 1, 2, 3]), training=True)
        return tf.add_n([tf.reduce_sum(tf.square(vectors)) for vectors in outputs.values()])

    weights = layer.trainable_weights
    assert len(weights) == len(layer.network.trainable_weights) + 2
    for weight, gradient in zip(weights, gradients_of(loss, weights), strict=True):
        assert gradient is not None, weight.name
        assert np.abs(gradient).max() > 0, weight.name


def test_knowledge_is_hidden_in_training_only() -> None:
    layer = adapter(knowledge_dropout_rate=0.3)
    rows = rows_of([2] * 2000, [1] * 2000)
    plain = adapter()(rows)
    for training in (None, False):
        np.testing.assert_array_equal(layer(rows, training=training)["item"], plain["item"])
    tf.keras.utils.set_random_seed(0)
    outputs = layer(rows, training=True)
    for source, vectors in outputs.items():
        hidden = np.isclose(vectors, default_vector(layer, source)).all(axis=1)
        # Three standard deviations of a share of 0.3 among 2,000.
        assert hidden.mean() == pytest.approx(0.3, abs=0.031)
        np.testing.assert_allclose(vectors[~hidden], plain[source][~hidden], atol=1e-6)


def test_nothing_is_hidden_at_rate_0() -> None:
    layer, rows = adapter(), rows_of([2] * 50, [1] * 50)
    np.testing.assert_array_equal(layer(rows, training=True)["item"], layer(rows)["item"])


def test_augmented_tables_are_the_outputs_of_every_row() -> None:
    layer = adapter(knowledge_dropout_rate=0.9)
    tables = layer.augmented_tables()
    outputs = layer(rows_of(list(range(ROWS["item"])), list(range(ROWS["user"]))))
    for source, rows in ROWS.items():
        assert tables[source].shape == (rows, layer.width)
        np.testing.assert_allclose(tables[source], outputs[source], atol=1e-6)
        np.testing.assert_array_equal(tables[source][0], default_vector(layer, source))


def test_long_tables_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = adapter()
    whole = layer.augmented_tables()
    monkeypatch.setattr("models.adapter._EXPORT_CHUNK", 3)
    for source, table in layer.augmented_tables().items():
        np.testing.assert_allclose(table, whole[source], atol=1e-6)


def test_gates_are_those_of_the_network() -> None:
    layer, rows = adapter(), rows_of([1, 0], [2])
    gates = layer.gates(rows)
    assert {source: values.shape for source, values in gates.items()} == {
        "item": (2, 3),
        "user": (1, 3),
    }
    np.testing.assert_allclose(np.sum(gates["item"], axis=1), 1, atol=1e-6)
    vectors = {source: layer.tables[source].vectors(rows[source]) for source in rows}
    np.testing.assert_array_equal(gates["item"], layer.network.gates(vectors)["item"])


def test_graph_equals_eager() -> None:
    layer, rows = adapter(), rows_of([1, 0, 3, 1], [2])
    specifications = {source: tf.TensorSpec([None], tf.int32) for source in rows}
    in_graph = tf.function(layer, input_signature=[specifications])(rows)
    for source in rows:
        np.testing.assert_allclose(in_graph[source], layer(rows)[source], atol=1e-6)


def test_tables_of_other_sources_are_refused() -> None:
    layer = adapter()
    with pytest.raises(
        ValueError, match=r"tables \['item'\] must be those of sources \['item', 'user'\]"
    ):
        HybridExpertAdapter({"item": layer.tables["item"]}, layer.network)


def test_stored_tables_answer_like_the_adapter() -> None:
    layer, rows = adapter(), rows_of([0, 4, 4, 6], [0, 3])
    stored = AugmentedTables(layer.augmented_tables())
    assert stored.trainable_variables == ()
    for source, vectors in stored(rows).items():
        np.testing.assert_allclose(vectors, layer(rows)[source], atol=1e-6)


def test_float16_tables_are_within_half_a_unit_of_the_last_place() -> None:
    layer, rows = adapter(), rows_of([0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3])
    stored = AugmentedTables(layer.augmented_tables(), tf.float16)(rows)
    for source, vectors in layer(rows).items():
        assert stored[source].dtype == tf.float32
        # 11 significant bits, and 2^-25 below the smallest normal number.
        bound = np.abs(vectors) * 2.0**-11 + 2.0**-25 + 1e-6
        assert (np.abs(stored[source] - vectors) <= bound).all()
