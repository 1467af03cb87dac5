from __future__ import annotations

import tensorflow as tf

from benchmarks.models import operation_shares


def test_the_largest_share_is_that_of_the_heaviest_operation() -> None:
    matrix = tf.random.normal([600, 600])
    program = tf.function(lambda: tf.nn.softmax(matrix @ matrix @ matrix, name="small"))
    program()
    shares = operation_shares(program, repeats=2)
    assert abs(sum(shares.values()) - 1) < 1e-9
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    heaviest = next(iter(shares))
    assert heaviest.lstrip("_").removeprefix("Mkl") == "MatMul"
