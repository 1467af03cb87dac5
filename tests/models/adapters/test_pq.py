from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from threadpoolctl import threadpool_limits

from models.adapters.pq import ProductQuantizationAdapter, cut, fit_codebook
from tests.models.adapters.cases import ROWS, adapter, stored_vectors, table_of
from tests.models.builders import augmented_tables, named_weights, randomise

# Two parts of two components: the first has three distinct values, the second two.
FIRST = np.array([[0.0, 0], [5, 5], [0, 0], [-5, 5], [5, 5]])
SECOND = np.array([[1.0, 0], [1, 0], [9, 9], [9, 9], [1, 0]])
VECTORS = np.concatenate([FIRST, SECOND], axis=1)


def quantised(vectors: np.ndarray, **given: int) -> ProductQuantizationAdapter:
    layer = ProductQuantizationAdapter(
        {"item": table_of(vectors)}, 3, **({"num_codebooks": 2, "codebook_size": 4} | given)
    )
    layer({"item": tf.constant([1])})
    randomise(layer.trainable_weights, seed=0)
    return layer


def test_augmented_vectors_are_sums_of_code_embeddings() -> None:
    layer = quantised(VECTORS)
    # Codes of distinct values are in the order of the values.
    codes = [[1, 0], [2, 0], [1, 1], [0, 1], [2, 0]]
    np.testing.assert_array_equal(layer.codes("item"), [[0, 0], *codes])
    embeddings = named_weights(layer)["item_code_embedding"]
    assert embeddings.shape == (3 + 2, 3)
    expected = [embeddings[first] + embeddings[3 + second] for first, second in codes]
    np.testing.assert_allclose(augmented_tables(layer)["item"][1:], expected, atol=1e-6)


def test_codes_are_the_nearest_centres_of_each_part() -> None:
    vectors = np.random.default_rng(0).normal(size=[60, 5])
    layer = quantised(vectors)
    books = [weight.numpy() for weight in layer.non_trainable_weights if "codebook" in weight.name]
    assert [book.shape for book in books] == [(4, 3), (4, 2)]
    assert layer.codes("item").dtype == np.int32
    stored = stored_vectors(layer.tables["item"])
    for row, vector in enumerate(stored, start=1):
        for index, part in enumerate((vector[:3], vector[3:])):
            distances = np.linalg.norm(books[index] - part, axis=1)
            assert layer.codes("item")[row, index] == distances.argmin()
    # Every centre is the mean of its members, as far as k-means went.
    members = stored[layer.codes("item")[1:, 0] == 2][:, :3]
    np.testing.assert_allclose(books[0][2], members.mean(axis=0), atol=0.05)


def test_new_vectors_get_the_trained_codes() -> None:
    layer = quantised(VECTORS)
    np.testing.assert_array_equal(
        layer.codes_of("item", np.array([[4.0, 6, 1, 1], [-4, 4, 8, 8]], np.float32)),
        [[2, 0], [0, 1]],
    )


def test_sources_have_codebooks_of_their_own() -> None:
    layer = adapter("pq")
    weights = named_weights(layer)
    assert weights["item_code_embedding"].shape == (8, 3)
    assert weights["user_code_embedding"].shape == (8, 3)
    for source, rows in ROWS.items():
        assert layer.codes(source).shape == (rows, 2)
        assert len(np.unique(layer.codes(source)[1:, 0])) == 4
    assert np.abs(weights["item_codebook_0"] - weights["user_codebook_0"]).max() > 0.1


def test_the_seed_decides() -> None:
    vectors = np.random.default_rng(0).normal(size=[60, 5])
    codes = quantised(vectors).codes("item")
    np.testing.assert_array_equal(quantised(vectors).codes("item"), codes)
    assert (quantised(vectors, seed=1).codes("item") != codes).any()


def test_long_tables_are_clustered_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.adapters.pq._ROWS_PER_CODE", 3)
    vectors = np.repeat(np.arange(50.0), 2).reshape(50, 2)
    layer = quantised(vectors, num_codebooks=1, codebook_size=12)
    centres = named_weights(layer)["item_codebook_0"]
    # 36 rows are read, so that centres are means of rows read and all rows get codes.
    assert centres.shape == (12, 2)
    distances = np.abs(vectors[:, :1] - centres[:, 0])
    np.testing.assert_array_equal(layer.codes("item")[1:, 0], distances.argmin(axis=1))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = adapter("pq").codes("item")
    monkeypatch.setattr("models.vector_tables.CHUNK_ROWS", 5)
    np.testing.assert_array_equal(adapter("pq").codes("item"), whole)


def test_first_vectors_have_the_deviation_of_id_embeddings() -> None:
    tf.keras.utils.set_random_seed(0)
    vectors = np.random.default_rng(0).normal(size=[300, 8])
    layer = ProductQuantizationAdapter({"item": table_of(vectors)}, 64, 8, 16)
    assert augmented_tables(layer)["item"][1:].std() == pytest.approx(0.05, rel=0.1)


def test_too_many_codebooks_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"'item' have 4 components.*model.pq.num_codebooks \(5\) parts"
    ):
        quantised(VECTORS, num_codebooks=5)


class TestCodebooks:
    @pytest.mark.parametrize(
        ("dimension", "parts", "widths"), [(6, 3, [2, 2, 2]), (7, 3, [3, 2, 2]), (3, 3, [1, 1, 1])]
    )
    def test_parts_differ_by_one_component_at_most(
        self, dimension: int, parts: int, widths: list[int]
    ) -> None:
        vectors = np.arange(2 * dimension).reshape(2, dimension)
        pieces = cut(vectors, parts)
        assert [piece.shape[1] for piece in pieces] == widths
        np.testing.assert_array_equal(np.concatenate(pieces, axis=1), vectors)

    def test_clear_clusters_are_found(self) -> None:
        centres = np.array([[0.0, 0], [10, 0], [0, 10]])
        random = np.random.default_rng(0)
        members = np.repeat(centres, 20, axis=0) + random.normal(scale=0.1, size=[60, 2])
        codebook = fit_codebook(members, 3, seed=0)
        expected = [members[20 * i : 20 * i + 20].mean(axis=0) for i in range(3)]
        np.testing.assert_allclose(
            sorted(codebook.tolist()), sorted(np.array(expected).tolist()), atol=1e-5
        )

    def test_few_distinct_vectors_are_their_own_codes(self) -> None:
        vectors = np.array([[2.0, 1], [1, 1], [2, 1], [1, 1]])
        np.testing.assert_array_equal(fit_codebook(vectors, 5, seed=0), [[1, 1], [2, 1]])
        np.testing.assert_array_equal(fit_codebook(vectors, 2, seed=0), [[1, 1], [2, 1]])

    def test_threads_change_nothing(self) -> None:
        vectors = np.random.default_rng(0).normal(size=[3000, 8]).astype(np.float32)
        with threadpool_limits(limits=1):
            one = fit_codebook(vectors, 16, seed=3)
        np.testing.assert_array_equal(fit_codebook(vectors, 16, seed=3), one)
        assert np.abs(fit_codebook(vectors, 16, seed=4) - one).max() > 0.1
