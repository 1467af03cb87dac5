from __future__ import annotations

from dataclasses import replace

import numpy as np
import tensorflow as tf

from models.match.kinds import MatchMethod
from models.match.tables import ItemTables, MatchTables
from tests.models.match.histories import item_vectors

# The second fold has fewer distinct vectors, and so fewer landmarks.
FOLDS = [item_vectors(8), item_vectors(9)[[0, 1, 2, 3] * 3]]


def item_tables(method: MatchMethod) -> tuple[ItemTables, MatchTables]:
    contents = MatchTables.from_vectors(method, item_vectors(), 5, FOLDS)
    tables = ItemTables(method, contents.sizes)
    tables.fill(contents)
    return tables, contents


def test_rows_become_slots_of_the_table_made_from_everything() -> None:
    tables, contents = item_tables(MatchMethod("ridge"))
    table, candidates, history = tables.look_up(
        np.array([[1], [4]]), np.array([[2, 0], [4, 3]]), None
    )
    np.testing.assert_array_equal(candidates, [[1], [0]])
    np.testing.assert_array_equal(history, [[2, 0], [0, 3]])
    np.testing.assert_array_equal(table, contents.table)


def test_folds_choose_the_rows_of_their_tables() -> None:
    tables, contents = item_tables(MatchMethod("ridge"))
    table, candidates, history = tables.look_up(
        np.array([[1, 4], [2, 0]]), np.array([[5], [6]]), np.array([1, 0])
    )
    assert table.dtype == tf.float16
    found = tf.gather(table, candidates)
    expected = [contents.fold_tables[1][[1, 4]], contents.fold_tables[0][[2, 0]]]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(
        tf.gather(table, history)[:, 0],
        [contents.fold_tables[1][5], contents.fold_tables[0][6]],
        atol=1e-3,
    )
    assert candidates[0, 1] == candidates[1, 1] == 0


def test_features_of_slots_are_those_that_fixed_tables_store() -> None:
    method = MatchMethod("ridge", learned=True)
    tables, _ = item_tables(method)
    fixed = MatchTables.from_vectors(replace(method, learned=False), item_vectors(), 5, FOLDS)
    rows, parameters = np.arange(13), (tf.constant(0.5), tf.constant(0.3))
    for fold, expected in ((None, fixed.table), *enumerate(fixed.fold_tables)):
        folds = None if fold is None else np.array([fold])
        table, slots, _ = tables.look_up(rows[np.newaxis], np.zeros([1, 0], int), folds)
        found = tables.nystroem_features(table, slots[0], *parameters).numpy()
        np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-4)


def test_a_batch_may_mix_folds() -> None:
    tables, _ = item_tables(MatchMethod("ridge", learned=True))
    rows, parameters = np.array([[1, 2], [0, 3], [7, 5]]), (tf.constant(0.5), tf.constant(0.3))
    nothing = np.zeros([3, 0], int)
    table, slots, _ = tables.look_up(rows, nothing, np.array([1, 0, 1]))
    mixed = tables.nystroem_features(table, tf.reshape(slots, [-1]), *parameters)
    for part, fold in enumerate([1, 0, 1]):
        table, slots, _ = tables.look_up(rows[[part]], nothing[:1], np.array([fold]))
        alone = tables.nystroem_features(table, slots[0], *parameters)
        np.testing.assert_allclose(mixed[2 * part : 2 * part + 2], alone, atol=1e-6)
