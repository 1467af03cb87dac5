from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.vector_tables import map_distinct

TABLE = np.arange(20, dtype=np.float32).reshape(5, 4)


@pytest.mark.parametrize("rows", [[3], [3, 1, 3, 3, 0], [[1, 1], [4, 0], [1, 4]], [[[2], [2]]], []])
def test_equals_the_function_of_every_row(rows: list[object]) -> None:
    indices = np.array(rows, np.int32)
    np.testing.assert_array_equal(
        map_distinct(lambda distinct: tf.gather(TABLE, distinct), indices), TABLE[indices]
    )


def test_the_function_sees_every_row_once() -> None:
    seen = []

    def function(distinct: tf.Tensor) -> tf.Tensor:
        seen.append(distinct.numpy().tolist())
        return tf.gather(TABLE, distinct)

    map_distinct(function, tf.constant([[4, 2], [4, 4], [2, 0]]))
    assert [sorted(rows) for rows in seen] == [[0, 2, 4]]


def test_gradients_add_up_over_repeats() -> None:
    table = tf.Variable(TABLE)
    with tf.GradientTape() as tape:
        result = map_distinct(lambda rows: tf.gather(table, rows), tf.constant([1, 3, 1]))
        loss = tf.reduce_sum(result)
    gradient = tf.convert_to_tensor(tape.gradient(loss, table))
    np.testing.assert_array_equal(gradient[:, 0], [0, 2, 0, 1, 0])


def test_graph_equals_eager() -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def in_graph(rows: tf.Tensor) -> tf.Tensor:
        return map_distinct(lambda distinct: tf.gather(TABLE, distinct), rows)

    rows = np.array([[1, 2, 1]], np.int32)
    np.testing.assert_array_equal(in_graph(rows), TABLE[rows])
