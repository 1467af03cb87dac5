from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from models.match.kinds import MatchMethod
from models.match.tables import ItemRows, ItemTables, MatchTables, Reduction, TableSizes
from tests.models.match.histories import item_vectors


def knowledge_vectors() -> np.ndarray:
    return np.random.default_rng(5).normal(size=[20, 8]).astype(np.float32) + 2


def centred_units(vectors: np.ndarray) -> np.ndarray:
    centred = vectors - vectors.mean(axis=0)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def test_means_table_has_whitened_directions() -> None:
    vectors = knowledge_vectors().astype(np.float64)
    table = MatchTables.from_vectors(MatchMethod("means"), vectors, 8).table
    centred = vectors - vectors.mean(axis=0)
    # Cosines of whitened vectors, whatever the basis: x' C^-1 y, scaled to length 1.
    products = centred @ np.linalg.inv(centred.T @ centred) @ centred.T
    lengths = np.sqrt(np.diag(products))
    np.testing.assert_array_equal(table[0], 0)
    np.testing.assert_allclose(
        table[1:] @ table[1:].T, products / np.outer(lengths, lengths), atol=1e-4
    )


def test_ridge_table_reproduces_the_kernel_of_the_method() -> None:
    vectors = knowledge_vectors().astype(np.float64)
    table = MatchTables.from_vectors(MatchMethod("ridge"), vectors, 20).table
    unit = centred_units(vectors)
    np.testing.assert_array_equal(table[0], 0)
    np.testing.assert_allclose(
        table[1:] @ table[1:].T, 0.3 + np.exp((unit @ unit.T - 1) / 0.5), atol=1e-4
    )
    assert MatchTables.from_vectors(MatchMethod("ridge"), vectors, 6).table.shape == (21, 7)


def test_the_exact_form_keeps_the_vectors() -> None:
    tables = MatchTables.from_vectors(MatchMethod("ridge", "exact"), knowledge_vectors(), 3)
    np.testing.assert_allclose(tables.table[1:], centred_units(knowledge_vectors()), atol=1e-6)


def test_the_learned_form_keeps_cosines_with_the_landmarks() -> None:
    method = MatchMethod("ridge", learned=True)
    tables = MatchTables.from_vectors(method, knowledge_vectors(), 20)
    assert tables.reduction is not None
    assert tables.landmark_cosines is not None
    landmarks = tables.reduction.basis.T
    np.testing.assert_allclose(
        tables.table[1:], centred_units(knowledge_vectors()) @ landmarks.T, atol=1e-6
    )
    np.testing.assert_allclose(tables.landmark_cosines[0], landmarks @ landmarks.T, atol=1e-6)


@pytest.mark.parametrize("kind", ["means", "ridge"])
def test_missing_vectors_have_no_part_in_the_others(kind: str) -> None:
    vectors = item_vectors()
    tables = MatchTables.from_vectors(MatchMethod(kind), vectors, 4)
    assert tables.has_vector.tolist() == [False, True, True, True, False, *[True] * 8]
    assert not tables.table[4].any()
    present = MatchTables.from_vectors(MatchMethod(kind), np.delete(vectors, 3, axis=0), 4)
    np.testing.assert_allclose(np.delete(tables.table, 4, axis=0), present.table, atol=1e-6)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("kind", ["means", "ridge"])
def test_every_fold_has_a_basis_of_its_own(kind: str, learned: bool) -> None:
    method = MatchMethod(kind, learned=learned)
    # The second fold has fewer distinct vectors, and so fewer directions or landmarks.
    few = np.repeat(item_vectors(9)[:3], 4, axis=0)
    folds = [item_vectors(8), few]
    tables = MatchTables.from_vectors(method, item_vectors(), 5, folds)
    own = [MatchTables.from_vectors(method, vectors, 5).table for vectors in folds]
    np.testing.assert_allclose(tables.fold_tables[0], own[0], atol=1e-6)
    width = own[1].shape[1]
    assert width < tables.table.shape[1]
    np.testing.assert_allclose(tables.fold_tables[1][:, :width], own[1], atol=1e-6)
    assert tables.sizes.num_folds == 2
    assert tables.fold_has_vector.shape == (2, 13)


def test_new_items_go_through_the_same_reduction() -> None:
    method = MatchMethod("ridge")
    reduction = Reduction.fit(method, knowledge_vectors(), 6)
    table = MatchTables.from_vectors(method, knowledge_vectors(), 6).table
    new = np.concatenate([knowledge_vectors()[3:5], np.zeros([1, 8])])
    np.testing.assert_allclose(reduction.apply(method, new)[:2], table[4:6], atol=1e-6)
    assert not reduction.apply(method, new)[2].any()


def test_a_ready_table_has_no_reduction() -> None:
    tables = MatchTables.of_rows(np.array([[0, 0], [1, 2], [0, 0]]))
    assert tables.has_vector.tolist() == [False, True, False]
    assert tables.sizes == TableSizes(num_rows=3, width=2)


# The second fold has fewer distinct vectors, and so fewer landmarks.
FOLDS = [item_vectors(8), item_vectors(9)[[0, 1, 2, 3] * 3]]


def item_tables(method: MatchMethod) -> tuple[ItemTables, MatchTables]:
    contents = MatchTables.from_vectors(method, item_vectors(), 5, FOLDS)
    tables = ItemTables(method, contents.sizes)
    tables.fill(contents)
    return tables, contents


class TestItemTables:
    def test_rows_become_slots_of_the_table_made_from_everything(self) -> None:
        tables, contents = item_tables(MatchMethod("ridge"))
        table, candidates, history = tables.look_up(
            np.array([[1], [4]]), np.array([[2, 0], [4, 3]]), None
        )
        np.testing.assert_array_equal(candidates, [[1], [0]])
        np.testing.assert_array_equal(history, [[2, 0], [0, 3]])
        np.testing.assert_array_equal(table, contents.table)

    def test_folds_choose_the_rows_of_their_tables(self) -> None:
        tables, contents = item_tables(MatchMethod("ridge"))
        table, candidates, history = tables.look_up(
            np.array([[1, 4], [2, 0]]), np.array([[5], [6]]), np.array([1, 0])
        )
        assert table.dtype == tf.float16
        actual = tf.gather(table, candidates)
        expected = [contents.fold_tables[1][[1, 4]], contents.fold_tables[0][[2, 0]]]
        np.testing.assert_allclose(actual, expected, atol=1e-3)
        np.testing.assert_allclose(
            tf.gather(table, history)[:, 0],
            [contents.fold_tables[1][5], contents.fold_tables[0][6]],
            atol=1e-3,
        )
        assert candidates[0, 1] == candidates[1, 1] == 0

    def test_features_of_slots_are_those_that_fixed_tables_store(self) -> None:
        method = MatchMethod("ridge", learned=True)
        tables, _ = item_tables(method)
        fixed = MatchTables.from_vectors(replace(method, learned=False), item_vectors(), 5, FOLDS)
        rows, parameters = np.arange(13), (tf.constant(0.5), tf.constant(0.3))
        for fold, expected in ((None, fixed.table), *enumerate(fixed.fold_tables)):
            folds = None if fold is None else np.array([fold])
            table, slots, _ = tables.look_up(rows[np.newaxis], np.zeros([1, 0], int), folds)
            actual = tables.nystroem_features(table, slots[0], *parameters).numpy()
            np.testing.assert_allclose(actual @ actual.T, expected @ expected.T, atol=1e-4)

    def test_a_batch_may_mix_folds(self) -> None:
        tables, _ = item_tables(MatchMethod("ridge", learned=True))
        rows, parameters = np.array([[1, 2], [0, 3], [7, 5]]), (tf.constant(0.5), tf.constant(0.3))
        nothing = np.zeros([3, 0], int)
        table, slots, _ = tables.look_up(rows, nothing, np.array([1, 0, 1]))
        mixed = tables.nystroem_features(table, tf.reshape(slots, [-1]), *parameters)
        for part, fold in enumerate([1, 0, 1]):
            table, slots, _ = tables.look_up(rows[[part]], nothing[:1], np.array([fold]))
            alone = tables.nystroem_features(table, slots[0], *parameters)
            np.testing.assert_allclose(mixed[2 * part : 2 * part + 2], alone, atol=1e-6)


ROWS = {"item": np.array([0, 2, 1]), "plain": np.array([0, 0, 5])}


class TestItemRows:
    def test_every_source_has_rows_of_its_own(self) -> None:
        rows = ItemRows(("item", "plain"), 3, ROWS)
        np.testing.assert_array_equal(rows("item", tf.constant([[1, 2], [0, 1]])), [[2, 1], [0, 2]])
        np.testing.assert_array_equal(rows("plain", tf.constant([2])), [5])
        assert [weight.name for weight in rows.weights] == ["item_rows:0", "plain_rows:0"]
        assert not rows.trainable_weights

    def test_without_rows_it_waits_for_them(self) -> None:
        rows = ItemRows(("item", "plain"), 3)
        np.testing.assert_array_equal(rows("item", tf.range(3)), [0, 0, 0])
        rows.set_weights(ItemRows(("item", "plain"), 3, ROWS).get_weights())
        np.testing.assert_array_equal(rows("item", tf.range(3)), ROWS["item"])

    def test_an_export_holds_the_rows_alone(self) -> None:
        stored = ItemRows(("item", "plain"), 3, ROWS).stored()
        np.testing.assert_array_equal(stored("plain", tf.range(3)), ROWS["plain"])
        assert {table.name: table.shape.as_list() for table in stored.variables} == {
            "items/match_row/item:0": [None],
            "items/match_row/plain:0": [None],
        }
