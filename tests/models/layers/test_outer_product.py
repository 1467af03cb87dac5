from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from models.layers.interaction import OuterProduct
from tests.models.layers.contract import (
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
)

FIELDS = np.random.default_rng(0).normal(size=[5, 4, 3]).astype(np.float32)


def test_the_product_of_small_fields_is_known() -> None:
    fields = np.array([[[1.0, 2.0], [3.0, 4.0]]], np.float32)
    # The sum is (4, 6).
    np.testing.assert_array_equal(OuterProduct()(fields), [[16, 24, 36]])


def test_outer_products_of_all_pairs_are_superposed() -> None:
    products = OuterProduct()(FIELDS)
    assert products.shape == (5, 6)
    for row in range(5):
        superposed = np.zeros([3, 3])
        for left in FIELDS[row]:
            for right in FIELDS[row]:
                superposed += np.outer(left, right)
        np.testing.assert_allclose(products[row], superposed[np.triu_indices(3)], atol=1e-5)


def test_a_graph_knows_the_width() -> None:
    in_graph = tf.function(OuterProduct(), input_signature=[tf.TensorSpec([None, 4, 3])])
    assert in_graph.get_concrete_function().output_shapes[1] == 6
    np.testing.assert_allclose(in_graph(FIELDS), OuterProduct()(FIELDS), atol=1e-6)


def test_every_field_gets_a_gradient() -> None:
    fields = tf.Variable(FIELDS)
    with tf.GradientTape() as tape:
        products = OuterProduct()(fields)
    gradient = tape.gradient(products, fields)
    # Of sum_{a <= b} s_a s_b: the sum of s and s_a once more.
    total = FIELDS.sum(axis=1)
    expected = total.sum(axis=1, keepdims=True) + total
    np.testing.assert_allclose(gradient, np.repeat(expected[:, np.newaxis], 4, 1), atol=1e-5)


def test_meets_the_contract_of_layers(tmp_path: Path) -> None:
    assert_rows_do_not_mix(OuterProduct(), FIELDS)
    assert_survives_saving(OuterProduct(), FIELDS, tmp_path)
    assert_runs_in_mixed_precision(OuterProduct, FIELDS, tolerance=0.2)
