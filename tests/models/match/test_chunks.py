from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.match.layer import in_chunks


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("length", [0, 1, 4, 5, 11])
def test_chunks_equal_the_whole(known: bool, length: int) -> None:
    left = np.arange(length * 6, dtype=np.float32).reshape(length, 3, 2)
    right = np.arange(length, dtype=np.float32)
    seen = []

    def function(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        seen.append(left.shape[0])
        return left * right[:, tf.newaxis, tf.newaxis]

    size = length if known else None
    specifications = [tf.TensorSpec([size, None, 2]), tf.TensorSpec([size])]
    in_graph = tf.function(
        lambda *tensors: in_chunks(function, tensors, 4), input_signature=specifications
    )
    expected = left * right[:, None, None]
    np.testing.assert_array_equal(in_graph(left, right), expected)
    assert set(seen) == ({length} if known and length <= 4 else {None})
    np.testing.assert_array_equal(in_chunks(function, (left, right), 4), expected)
    assert all(rows is None or rows <= 4 for rows in seen)
