from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.losses import EQUAL_WEIGHTS, label_weights


@pytest.mark.parametrize("dtype", [tf.float32, tf.int64, tf.bool])
def test_every_sample_has_the_weight_of_its_label(dtype: tf.DType) -> None:
    labels = tf.cast([[0, 1], [1, 0]], dtype)
    weights = label_weights(labels, (0.25, 4.0))
    assert weights is not None and weights.dtype == tf.float32
    np.testing.assert_array_equal(weights, [[0.25, 4.0], [4.0, 0.25]])


def test_equal_weights_are_none() -> None:
    assert label_weights(tf.constant([0.0, 1.0]), EQUAL_WEIGHTS) is None
    assert label_weights(tf.constant([0.0, 1.0]), [1, 1]) is None


def test_both_weights_alike_still_count() -> None:
    np.testing.assert_array_equal(label_weights(tf.constant([0.0, 1.0]), (2.0, 2.0)), [2.0, 2.0])
