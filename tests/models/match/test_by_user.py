from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.match.layer import candidates_by_user


@pytest.mark.parametrize(
    ("candidates", "users", "expected"),
    [
        ([1, 2, 3], 3, [[1], [2], [3]]),
        ([1, 2, 3], 1, [[1, 2, 3]]),
        ([1], 1, [[1]]),
        ([[1, 2], [3, 4], [5, 6]], 3, [[1, 2], [3, 4], [5, 6]]),
    ],
)
def test_candidates_are_laid_out_by_user(
    candidates: list[Any], users: int, expected: list[list[int]]
) -> None:
    rows, history = tf.constant(candidates), tf.zeros([users, 5])
    np.testing.assert_array_equal(candidates_by_user(rows, history), expected)
    unknown = tf.function(
        candidates_by_user,
        input_signature=[
            tf.TensorSpec([None] * rows.shape.rank, rows.dtype),
            tf.TensorSpec([None, 5]),
        ],
    )
    np.testing.assert_array_equal(unknown(rows, history), expected)


def test_other_numbers_of_histories_are_refused() -> None:
    rows, history = tf.range(6), tf.zeros([3, 5])
    with pytest.raises(ValueError, match="6 candidates need as many .*Received: 3 histories"):
        candidates_by_user(rows, history)
    unknown = tf.function(
        candidates_by_user,
        input_signature=[tf.TensorSpec([None], rows.dtype), tf.TensorSpec([None, 5])],
    )
    with pytest.raises(tf.errors.InvalidArgumentError):
        unknown(rows, history)
