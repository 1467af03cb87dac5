from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.match.tables import ItemRows

ROWS = {"item": np.array([0, 2, 1]), "plain": np.array([0, 0, 5])}


def test_every_source_has_rows_of_its_own() -> None:
    rows = ItemRows(("item", "plain"), 3, ROWS)
    np.testing.assert_array_equal(rows("item", tf.constant([[1, 2], [0, 1]])), [[2, 1], [0, 2]])
    np.testing.assert_array_equal(rows("plain", tf.constant([2])), [5])
    assert [weight.name for weight in rows.weights] == ["item_rows:0", "plain_rows:0"]
    assert not rows.trainable_weights


def test_without_rows_it_waits_for_them() -> None:
    rows = ItemRows(("item", "plain"), 3)
    np.testing.assert_array_equal(rows("item", tf.range(3)), [0, 0, 0])
    rows.set_weights(ItemRows(("item", "plain"), 3, ROWS).get_weights())
    np.testing.assert_array_equal(rows("item", tf.range(3)), ROWS["item"])


def test_an_export_holds_the_rows_alone() -> None:
    stored = ItemRows(("item", "plain"), 3, ROWS).stored()
    np.testing.assert_array_equal(stored("plain", tf.range(3)), ROWS["plain"])
    assert {table.name: table.shape.as_list() for table in stored.variables} == {
        "items/match_row/item:0": [None],
        "items/match_row/plain:0": [None],
    }
