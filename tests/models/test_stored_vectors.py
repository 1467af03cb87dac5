from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.vector_tables import UnstorableVector, VectorTable, stored_vectors

TABLE = np.random.default_rng(0).normal(size=[5, 4]).astype(np.float32)


def test_int8_rows_by_hand() -> None:
    stored = stored_vectors(
        np.array([[127, -63.5, 0.4], [0, 0, 0], [1e-3, 5e-4, -1e-3]]), "int8", "t"
    )
    assert stored["values"].dtype == np.int8 and stored["scales"].dtype == np.float32
    # -63.5 lies half way: the even neighbour.
    np.testing.assert_array_equal(stored["values"], [[127, -64, 0], [0, 0, 0], [127, 64, -127]])
    np.testing.assert_allclose(stored["scales"], [1, 0, 1e-3 / 127], rtol=1e-6)


@pytest.mark.parametrize(
    ("number_format", "bound"),
    [
        ("float32", np.zeros([5, 4])),
        ("float16", np.abs(TABLE) * 2.0**-11),
        ("int8", np.abs(TABLE).max(axis=1, keepdims=True) / 127 / 2 * (1 + 1e-5)),
    ],
)
def test_rounding_stays_below_half_a_step(number_format: str, bound: np.ndarray) -> None:
    table = VectorTable(TABLE, number_format, "t")
    assert table.width == 4 and not table.trainable_variables
    rows = np.array([[4, 0], [2, 2]])
    vectors = table(rows)
    assert vectors.dtype == tf.float32
    np.testing.assert_array_equal(vectors, table.all_rows()[rows])
    assert (np.abs(table.all_rows() - TABLE) <= bound).all()
    assert number_format == "float32" or (table.all_rows() != TABLE).any()


def test_one_row_and_no_row() -> None:
    table = VectorTable(TABLE, "int8", "t")
    np.testing.assert_array_equal(table(tf.constant(3)), table.all_rows()[3])
    assert table(tf.zeros([0], tf.int32)).shape == (0, 4)


@pytest.mark.parametrize("number_format", ["float32", "float16", "int8"])
def test_a_saved_table_takes_further_rows(number_format: str, tmp_path: Path) -> None:
    path = tf.train.Checkpoint(table=VectorTable(TABLE, number_format, "t")).write(
        str(tmp_path / "checkpoint")
    )
    other = VectorTable(np.ones([2, 4], np.float32), number_format, "t")
    tf.train.Checkpoint(table=other).read(path).assert_consumed()
    np.testing.assert_array_equal(
        other.all_rows(), VectorTable(TABLE, number_format, "t").all_rows()
    )


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="'int4' is unknown; there are float32, float16, int8"):
        stored_vectors(TABLE, "int4", "t")
    for number_format, number in (("float32", np.nan), ("int8", np.inf), ("float16", -np.inf)):
        with pytest.raises(UnstorableVector, match="items/t holds a number that is infinite"):
            stored_vectors(np.array([[0, number]]), number_format, "items/t")
    with pytest.raises(UnstorableVector, match=r"up to 1e\+05, and float16 ends at 65504; export"):
        VectorTable(np.array([[1, -1e5]]), "float16", "items/t")
