from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from models.hein import HybridExpertNetwork
from models.knowledge import EntityIndex, KnowledgeTable, UserRows
from tests.models.builders import Records, knowledge_records

VECTORS = np.array([[0.5, -1.0], [2.0, 0.25], [1.5, 3.0]], np.float32)


def three_items(**options: Any) -> KnowledgeTable:
    return KnowledgeTable("item", ["a", "b", "c"], VECTORS, **options)


def test_ids_have_the_rows_of_their_vectors() -> None:
    table = three_items()
    np.testing.assert_array_equal(table.rows(tf.constant(["c", "a", "b"])), [3, 1, 2])
    np.testing.assert_array_equal(table(tf.constant(["c", "a"])), VECTORS[[2, 0]])
    np.testing.assert_array_equal(table.vectors([2, 0]), [VECTORS[1], [0, 0]])
    assert (table.num_entities, table.num_rows, table.dimension) == (3, 4, 2)


def test_unknown_ids_have_row_0_and_zeros() -> None:
    table = three_items()
    ids = tf.constant([["unseen", "b"], ["", "[UNK]"]])
    np.testing.assert_array_equal(table.rows(ids), [[0, 2], [0, 0]])
    np.testing.assert_array_equal(table(ids), [[[0, 0], VECTORS[1]], [[0, 0], [0, 0]]])


def test_ids_of_one_group_share_a_row() -> None:
    records = Records(
        entity_ids=["a", "b", "c", "d", "e", "f"],
        vectors=np.array([[1, 1], [2, 2], [3, 3], [2, 2], [5, 5], [3, 3]], np.float32),
        extraction=["individual", "collective", "collective", "collective", "individual"]
        + ["collective"],
        group_ids=["", "g1", "g2", "g1", "g1", "g2"],
    )
    table = KnowledgeTable.from_records("item", records)
    # "e" has an answer of its own, although its group has one too.
    np.testing.assert_array_equal(table.rows(tf.constant(records.entity_ids)), [1, 2, 3, 2, 4, 3])
    np.testing.assert_array_equal(table(tf.constant(records.entity_ids)), records.vectors)
    assert (table.num_rows, table.num_entities) == (5, 6)


def test_a_collective_answer_of_no_group_is_nobody_elses() -> None:
    records = Records(
        entity_ids=["a", "b", "c"],
        vectors=VECTORS,
        extraction=["collective"] * 3,
        group_ids=["", "", "g"],
    )
    table = KnowledgeTable.from_records("item", records)
    np.testing.assert_array_equal(table(tf.constant(records.entity_ids)), VECTORS)


def test_rows_can_be_given() -> None:
    table = KnowledgeTable("item", ["a", "b", "c"], VECTORS[:1], row_of_entity=np.array([1, 0, 1]))
    np.testing.assert_array_equal(table(tf.constant(["a", "b", "c"]))[:, 0], [0.5, 0, 0.5])


def test_vectors_are_kept_as_float16_and_not_trained() -> None:
    vectors = np.random.default_rng(0).normal(size=[3, 2]).astype(np.float32)
    table = KnowledgeTable("item", ["a", "b", "c"], vectors)
    assert [weight.dtype for weight in table.weights if weight.shape.rank == 2] == [tf.float16]
    assert table.trainable_weights == []
    output = table(tf.constant(["a", "b", "c"]))
    assert output.dtype == tf.float32
    np.testing.assert_array_equal(output, vectors.astype(np.float16).astype(np.float32))


def test_an_index_is_a_layer_of_its_own() -> None:
    index = EntityIndex(["x", "y"], np.array([7, 5]))
    np.testing.assert_array_equal(index(tf.constant([["y", "z"], ["x", "y"]])), [[5, 0], [7, 5]])
    assert index(tf.constant(["y"])).dtype == tf.int32
    assert index.num_entities == 2
    assert index.trainable_weights == []


def test_an_index_survives_saving(tmp_path: Path) -> None:
    ids = tf.keras.Input([None], dtype=tf.string)
    index = EntityIndex(["x", "y", "Amélie"], np.array([7, 5, 9]), name="people")
    model = tf.keras.Model(ids, index(ids))
    model.save(tmp_path / "index.keras")
    reloaded = tf.keras.models.load_model(tmp_path / "index.keras")
    request = tf.constant([["y", "z", "Amélie"]])
    np.testing.assert_array_equal(reloaded(request), [[5, 0, 9]])
    assert reloaded.get_layer("people").get_config() == index.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"entity_ids": ["a", "a"], "vectors": VECTORS[:2]}, "entity ids repeat"),
        ({"entity_ids": ["a", "b"], "vectors": VECTORS[:1]}, r"outside \[0, 1\]"),
        (
            {"entity_ids": ["a"], "vectors": VECTORS, "row_of_entity": np.array([-1])},
            r"outside \[0, 3\]",
        ),
        (
            {"entity_ids": ["a", "b"], "vectors": VECTORS, "row_of_entity": np.array([1])},
            "2 entity ids need as many rows",
        ),
        ({"entity_ids": ["a"], "vectors": np.array([[np.nan, 1]])}, "'item' must be finite"),
        ({"entity_ids": ["a"], "vectors": np.array([1.0, 2.0])}, r"finite, \[rows, dimension\]"),
        ({"entity_ids": ["a"], "vectors": np.array([[70000.0]])}, "do not fit into float16"),
        ({"entity_ids": [], "vectors": VECTORS[:0]}, "source 'item' has no entities"),
        ({"entity_ids": ["a"]}, "give entity_ids and vectors"),
        ({"num_entities": 2, "num_rows": 3}, "give entity_ids and vectors"),
    ],
)
def test_wrong_contents_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KnowledgeTable("item", **arguments)


def test_an_index_without_contents_or_size_is_refused() -> None:
    with pytest.raises(ValueError, match="give entity_ids and rows, or num_entities"):
        EntityIndex()


def own_model() -> tf.keras.Model:
    """A plain Keras model of somebody who knows nothing of ranking models here."""
    tf.keras.utils.set_random_seed(0)
    sources = ("user", "item")
    ids = {source: tf.keras.Input([], name=source, dtype=tf.string) for source in sources}
    vectors = {
        source: KnowledgeTable.from_records(
            source, knowledge_records([f"{source}{i}" for i in range(300)], dimension=12, seed=i)
        )(ids[source])
        for i, source in enumerate(sources)
    }
    augmented = HybridExpertNetwork(sources, 2, 3, (8, 4))(vectors)
    joined = tf.keras.layers.Concatenate()([augmented[source] for source in sources])
    model = tf.keras.Model(ids, tf.keras.layers.Dense(1)(joined))
    model.compile(
        tf.keras.optimizers.Adam(0.05), tf.keras.losses.BinaryCrossentropy(from_logits=True)
    )
    return model


def requests() -> dict[str, tf.Tensor]:
    return {
        "user": tf.constant(["user0", "user7", "stranger", "user299"]),
        "item": tf.constant(["item1", "unseen", "item5", "item299"]),
    }


def graph_constants(folder: Path) -> Iterator[tuple[str, int]]:
    """Name and number of elements of every constant in a SavedModel."""
    saved = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    for meta_graph in saved.meta_graphs:
        library = meta_graph.graph_def.library.function
        for node in [
            *meta_graph.graph_def.node,
            *(node for function in library for node in function.node_def),
        ]:
            if node.op == "Const":
                shape = node.attr["value"].tensor.tensor_shape
                yield node.name, int(np.prod([dim.size for dim in shape.dim]))


def test_knowledge_in_your_own_model_trains_saves_and_serves(tmp_path: Path) -> None:
    model = own_model()
    features, labels = requests(), tf.constant([1.0, 0.0, 1.0, 0.0])
    frozen = [weight.numpy() for weight in model.non_trainable_weights]
    first = model.train_on_batch(features, labels)
    assert model.train_on_batch(features, labels) < first
    for before, weight in zip(frozen, model.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(before, weight)
    expected = model(features).numpy()
    assert np.ptp(expected) > 1e-3

    model.save(tmp_path / "model.keras")
    from_file = tf.keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(from_file(features), expected, atol=1e-6)
    table = from_file.get_layer("item_knowledge_table")
    assert (table.num_entities, table.num_rows, table.dimension) == (300, 301, 12)
    np.testing.assert_array_equal(table.rows(features["item"]), [2, 0, 6, 300])

    model.save(tmp_path / "saved_model")
    from_folder = tf.keras.models.load_model(tmp_path / "saved_model")
    np.testing.assert_allclose(from_folder(features), expected, atol=1e-6)
    served = tf.saved_model.load(str(tmp_path / "saved_model"))
    (scores,) = served.signatures["serving_default"](**features).values()
    np.testing.assert_allclose(scores, expected, atol=1e-6)

    constants = list(graph_constants(tmp_path / "saved_model"))
    assert constants
    assert [(name, size) for name, size in constants if size > 1000] == []


def test_a_reloaded_model_can_be_saved_again(tmp_path: Path) -> None:
    model = own_model()
    model.save(tmp_path / "once.keras")
    tf.keras.models.load_model(tmp_path / "once.keras").save(tmp_path / "twice.keras")
    again = tf.keras.models.load_model(tmp_path / "twice.keras")
    np.testing.assert_allclose(again(requests()), model(requests()), atol=1e-6)


class TestUserRows:
    def test_users_of_all_sources(self) -> None:
        rows = UserRows(
            {
                "liked": EntityIndex(["bob", "ann"], np.array([3, 1])),
                "user": EntityIndex(["cid"], np.array([2])),
            }
        )
        assert rows.sources == ("liked", "user")
        actual = rows(tf.constant(["ann", "nobody", "cid"]))
        np.testing.assert_array_equal(actual["liked"], [1, 0, 0])
        np.testing.assert_array_equal(actual["user"], [0, 0, 2])
        users, by_source = rows.known_users()
        assert users == ["ann", "bob", "cid"]
        np.testing.assert_array_equal(by_source["liked"], [0, 1, 3, 0])
        np.testing.assert_array_equal(by_source["user"], [0, 0, 0, 2])

    def test_no_source_knows_nobody(self) -> None:
        nothing = UserRows({})
        assert nothing.sources == () and nothing(tf.constant(["ann"])) == {}
        assert nothing.known_users() == ([], {})
