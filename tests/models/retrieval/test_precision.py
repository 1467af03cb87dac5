from __future__ import annotations

import pytest
import tensorflow as tf

from models.retrieval.precision import full_precision


@pytest.fixture(autouse=True)
def mixed_precision():
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    yield
    tf.keras.mixed_precision.set_global_policy(before)


def test_layers_made_inside_compute_in_full_precision() -> None:
    with full_precision():
        inside = tf.keras.layers.Dense(1)
    outside = tf.keras.layers.Dense(1)
    assert inside(tf.ones([1, 2])).dtype == tf.float32
    assert outside(tf.ones([1, 2])).dtype == tf.bfloat16


def test_the_policy_comes_back_after_an_error() -> None:
    with pytest.raises(KeyError), full_precision():
        raise KeyError
    assert tf.keras.mixed_precision.global_policy().name == "mixed_bfloat16"
