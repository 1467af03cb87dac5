from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.vector_tables import AugmentedTables

TABLES = {
    source: np.random.default_rng(seed).normal(size=[rows, 3]).astype(np.float32)
    for seed, (source, rows) in enumerate({"item": 7, "user": 4}.items())
}


def test_rows_of_any_shape() -> None:
    stored = AugmentedTables(TABLES)
    assert stored.trainable_variables == ()
    assert stored.sources == ("item", "user")
    rows = {"item": tf.constant([[0, 4], [4, 6]]), "user": tf.constant([3])}
    vectors = stored(rows)
    assert tuple(vectors) == ("item", "user")
    np.testing.assert_array_equal(vectors["item"], TABLES["item"][[[0, 4], [4, 6]]])
    np.testing.assert_array_equal(vectors["user"], TABLES["user"][[3]])


def test_a_call_may_name_some_sources_only() -> None:
    assert tuple(AugmentedTables(TABLES)({"user": tf.constant([1])})) == ("user",)


def test_float16_tables_are_within_half_a_unit_of_the_last_place() -> None:
    stored = AugmentedTables(TABLES, "float16")
    for source, table in TABLES.items():
        vectors = stored({source: tf.range(len(table))})[source]
        assert vectors.dtype == tf.float32
        # 11 significant bits, and 2^-25 below the smallest normal number.
        assert (np.abs(vectors - table) <= np.abs(table) * 2.0**-11 + 2.0**-25).all()
