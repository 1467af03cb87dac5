from __future__ import annotations

import pytest
import tensorflow as tf

from models.layer_support import precision


@pytest.mark.parametrize(
    ("policy", "dtype"),
    [
        ("float32", tf.float32),
        ("mixed_bfloat16", tf.bfloat16),
        ("mixed_float16", tf.float16),
    ],
)
def test_layers_made_inside_compute_as_the_policy_says(policy: str, dtype: tf.DType) -> None:
    with precision(policy):
        inside = tf.keras.layers.Dense(1)
    outside = tf.keras.layers.Dense(1)
    assert inside(tf.ones([1, 2])).dtype == dtype
    assert {weight.dtype for weight in inside.weights} == {tf.float32}
    assert outside(tf.ones([1, 2])).dtype == tf.float32


def test_the_policy_before_comes_back_also_after_an_error() -> None:
    with precision("mixed_bfloat16"):
        with pytest.raises(KeyError), precision("float32"):
            raise KeyError
        assert tf.keras.mixed_precision.global_policy().name == "mixed_bfloat16"
    assert tf.keras.mixed_precision.global_policy().name == "float32"


def test_an_unknown_policy_changes_nothing() -> None:
    with pytest.raises(ValueError, match="float12"), precision("mixed_float12"):
        pass
    assert tf.keras.mixed_precision.global_policy().name == "float32"
