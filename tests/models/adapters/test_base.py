"""What every adapter must do, whatever its formula."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from sklearn.preprocessing import StandardScaler

from models.adapters import ADAPTERS
from models.adapters.base import (
    KnowledgeAdapter,
    Standardization,
    component_statistics,
    frozen_weight,
)
from models.layer_support import precision
from models.vector_tables import AugmentedTables
from tests.models.adapters.cases import (
    ROWS,
    WIDTH,
    adapter,
    default_vector,
    options,
    rows_of,
    shared_adapter,
    stored_vectors,
    table_of,
    tables,
)
from tests.models.builders import augmented_tables, gradients_of

every_adapter = pytest.mark.parametrize("name", ADAPTERS)


def every_row() -> dict[str, tf.Tensor]:
    return rows_of(list(range(ROWS["item"])), list(range(ROWS["user"])))


@every_adapter
@pytest.mark.parametrize("standardized", [False, True])
def test_rows_of_any_shape_give_the_vectors_of_each_row_alone(
    name: str, standardized: bool
) -> None:
    layer = shared_adapter(name, standardized)
    rows = rows_of([[3, 1, 3], [6, 3, 0]], [[[2]], [[2]], [[4]]])
    outputs = layer(rows)
    assert tuple(outputs) == layer.sources == ("item", "user")
    for source, source_rows in rows.items():
        assert outputs[source].shape == (*source_rows.shape, layer.width)
        assert layer.width == WIDTH
        flat = np.reshape(outputs[source], [-1, WIDTH])
        for row, vector in zip(np.ravel(source_rows), flat, strict=True):
            alone = layer({source: tf.constant([row], tf.int32)})[source]
            assert alone.shape == (1, WIDTH)
            np.testing.assert_allclose(vector, alone[0], atol=1e-6)


@every_adapter
@pytest.mark.parametrize("standardized", [False, True])
def test_vectors_of_new_entities_are_augmented_as_those_of_known_ones(
    name: str, standardized: bool
) -> None:
    layer = shared_adapter(name, standardized)
    known = layer(every_row())
    for source, count in (("item", ROWS["item"]), ("user", ROWS["user"])):
        vectors = layer.tables[source].vectors(tf.range(1, count))
        actual = layer.augment_vectors(source, vectors)
        assert actual.shape == (count - 1, WIDTH)
        np.testing.assert_allclose(actual, known[source][1:], atol=1e-6)
        one = layer.augment_vectors(source, vectors[2:3])
        np.testing.assert_allclose(one, known[source][3:4], atol=1e-6)


@every_adapter
def test_a_call_may_name_some_sources_only(name: str) -> None:
    layer, rows = shared_adapter(name), rows_of([[5, 0]], [1, 2])
    together = layer(rows)
    for source, source_rows in rows.items():
        alone = layer({source: source_rows})
        assert tuple(alone) == (source,)
        np.testing.assert_allclose(alone[source], together[source], atol=1e-6)
    with pytest.raises(ValueError, match=r"no table for \['brand'\], only for \['item', 'user'\]"):
        layer({"brand": rows["item"]})


@every_adapter
def test_no_rows_give_no_vectors(name: str) -> None:
    outputs = shared_adapter(name)(rows_of(np.zeros([2, 0]), [1]))
    assert outputs["item"].shape == (2, 0, WIDTH)
    assert outputs["user"].shape == (1, WIDTH)


@every_adapter
def test_row_0_gives_the_trained_default_and_other_rows_differ(name: str) -> None:
    layer = shared_adapter(name)
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
    plain = shared_adapter(name)(rows)
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
        stored = augmented_tables(layer)
        assert tuple(stored) == layer.sources
        for source, rows in ROWS.items():
            assert stored[source].shape == (rows, WIDTH)
            assert stored[source].dtype == np.float32
            np.testing.assert_allclose(stored[source], outputs[source], atol=1e-6)
            np.testing.assert_array_equal(stored[source][0], default_vector(layer, source))


@every_adapter
def test_stored_tables_answer_like_the_adapter(name: str) -> None:
    layer, rows = shared_adapter(name), rows_of([[0, 4], [4, 6]], [0, 3])
    stored = AugmentedTables(augmented_tables(layer))
    for source, vectors in layer(rows).items():
        np.testing.assert_allclose(stored(rows)[source], vectors, atol=1e-6)


@every_adapter
def test_graph_equals_eager(name: str) -> None:
    layer, rows = shared_adapter(name), rows_of([[1, 0], [3, 1]], [2])
    specifications = {
        "item": tf.TensorSpec([None, 2], tf.int32),
        "user": tf.TensorSpec([None], tf.int32),
    }

    @tf.function(input_signature=[specifications], autograph=False)
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
    layer = shared_adapter(name, standardized)
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
    exact = shared_adapter(name, standardized)
    with precision("mixed_bfloat16"):
        mixed = adapter(name, standardized_knowledge=standardized)
        mixed.set_weights(exact.get_weights())
        outputs = mixed(every_row(), training=True)
        stored = augmented_tables(mixed)
    for source, vectors in exact(every_row()).items():
        assert outputs[source].dtype == tf.bfloat16
        assert stored[source].dtype == np.float32
        np.testing.assert_allclose(tf.cast(outputs[source], tf.float32), vectors, atol=0.05)
        np.testing.assert_allclose(stored[source], vectors, atol=0.05)
    assert {weight.dtype for weight in mixed.trainable_weights} == {tf.float32}


@every_adapter
def test_equal_tables_and_seeds_give_equal_adapters(name: str) -> None:
    one, other = shared_adapter(name), adapter(name)
    for weight, again in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(weight, again)


def test_an_adapter_needs_a_source() -> None:
    with pytest.raises(ValueError, match="at least one source"):
        KnowledgeAdapter({}, WIDTH)


class Shift(tf.keras.layers.Layer):
    """Adds a frozen weight and shows its type inside the call."""

    def __init__(self, values: np.ndarray):
        super().__init__()
        self.shift = frozen_weight(self, "shift", values)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.cast(inputs, self.shift.dtype) + self.shift


class TestFrozenWeights:
    @pytest.mark.parametrize(
        ("values", "dtype"),
        [(np.array([1.0, 0.1]), tf.float32), (np.array([3, 2**20 + 1]), tf.int32)],
    )
    def test_values_are_kept_saved_and_not_trained(
        self, values: np.ndarray, dtype: tf.DType, tmp_path: Path
    ) -> None:
        layer, other = Shift(values), Shift(np.zeros_like(values))
        assert layer.trainable_weights == []
        (weight,) = layer.non_trainable_weights
        assert weight.dtype == dtype
        np.testing.assert_array_equal(weight, values.astype(dtype.as_numpy_dtype))
        path = tf.train.Checkpoint(layer=layer).write(str(tmp_path / "weights"))
        tf.train.Checkpoint(layer=other).read(path).assert_consumed()
        np.testing.assert_array_equal(other.shift, weight)

    def test_mixed_precision_does_not_touch_them(self) -> None:
        with precision("mixed_bfloat16"):
            layer = Shift(np.array([1.0009765625]))
            output = layer(tf.zeros([1]))
        assert output.dtype == tf.float32
        np.testing.assert_array_equal(output, np.array([1.0009765625], np.float32))


SPREADS = np.array([0.01, 1.0, 30.0, 1.0])


def vectors(count: int = 50) -> np.ndarray:
    """Components of very different spread and mean; the last is constant."""
    random = np.random.default_rng(0)
    drawn = random.normal(size=[count, 4]) * SPREADS + [0.3, -2.0, 5.0, 0.0]
    drawn[:, 3] = 0.7
    return drawn.astype(np.float16)


class TestStandardization:
    def test_agrees_with_scikit_learn(self) -> None:
        table = table_of(vectors())
        exact = stored_vectors(table)
        actual = Standardization(table)(table.vectors(np.arange(1, 51)))
        expected = StandardScaler().fit_transform(exact)
        np.testing.assert_allclose(actual[:, :3], expected[:, :3], atol=1e-4)
        np.testing.assert_array_equal(actual[:, 3], np.zeros(50))

    def test_chunks_change_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = component_statistics(table_of(vectors()))
        monkeypatch.setattr("models.vector_tables.CHUNK_ROWS", 7)
        for part, expected in zip(component_statistics(table_of(vectors())), whole, strict=True):
            np.testing.assert_allclose(part, expected, rtol=1e-12)

    def test_row_0_does_not_count(self) -> None:
        mean, scale = component_statistics(table_of(np.array([[1.0, 2.0], [3.0, 6.0]])))
        np.testing.assert_allclose(mean, [2, 4])
        np.testing.assert_allclose(scale, [1, 1 / 2])

    def test_a_table_of_one_vector_gives_zeros(self) -> None:
        table = table_of(np.array([[1.0, -2.0]]))
        np.testing.assert_array_equal(Standardization(table)(table.vectors([1])), [[0, 0]])

    def test_equal_numbers_are_constant_though_their_mean_is_rounded(self) -> None:
        table = table_of(np.full([9, 1], 0.1))
        np.testing.assert_array_equal(component_statistics(table)[1], [0])

    def test_statistics_are_saved_and_not_trained(self, tmp_path: Path) -> None:
        table, other = table_of(vectors()), table_of(vectors() * 2)
        layer, restored = Standardization(table), Standardization(other)
        assert layer.trainable_weights == []
        inputs = table.vectors(np.arange(1, 51))
        assert np.abs(restored(inputs) - layer(inputs)).max() > 0.1
        path = tf.train.Checkpoint(layer=layer).write(str(tmp_path / "weights"))
        tf.train.Checkpoint(layer=restored).read(path).assert_consumed()
        np.testing.assert_array_equal(restored(inputs), layer(inputs))

    def test_an_adapter_reads_standardised_vectors(self) -> None:
        layer = adapter("linear", standardized_knowledge=True)
        expected = StandardScaler().fit_transform(stored_vectors(layer.tables["item"]))
        rows = np.arange(1, layer.tables["item"].num_rows)
        np.testing.assert_allclose(layer.vectors("item", rows), expected, atol=1e-5)
        plain = adapter("linear")
        np.testing.assert_allclose(
            plain.vectors("item", rows), stored_vectors(layer.tables["item"]), atol=1e-6
        )


class TestOptions:
    @pytest.mark.parametrize("name", ADAPTERS)
    def test_all_take_the_common_options(self, name: str) -> None:
        given = options(knowledge_dropout_rate=0.25, standardized_knowledge=True)
        layer = ADAPTERS[name](given, tables())
        assert (layer.knowledge_dropout_rate, layer.standardized) == (0.25, True)

    @pytest.mark.parametrize(
        ("name", "key"),
        [("hein", "hein.expert_units"), ("moe", "moe.expert_units"), ("mlp", "mlp.units")],
    )
    def test_augmented_vectors_are_as_wide_as_embeddings(self, name: str, key: str) -> None:
        message = rf"last of model.{key} \(3\) must equal model.embedding_dimension \(5\)"
        with pytest.raises(ValueError, match=message):
            ADAPTERS[name](options(embedding_dimension=5), tables())

    @pytest.mark.parametrize(
        ("name", "network"),
        [("hein", "HEIN"), ("moe", "mixture of experts"), ("mlp", "shared MLP")],
    )
    def test_shared_networks_need_vectors_of_one_width(self, name: str, network: str) -> None:
        message = re.escape(
            f"the sources of one {network} need vectors of one width, but there are item: 5, "
            "user: 9; encode them with one encoder"
        )
        with pytest.raises(ValueError, match=message):
            ADAPTERS[name](options(), tables(user=9))

    @pytest.mark.parametrize("name", ["linear", "pca", "pq"])
    def test_other_adapters_take_sources_of_different_widths(self, name: str) -> None:
        layer = ADAPTERS[name](options(embedding_dimension=6), tables(user=9))
        outputs = layer(rows_of([1, 2], [3]))
        assert [vectors.shape for vectors in outputs.values()] == [(2, 6), (1, 6)]
