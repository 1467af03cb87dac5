from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.layers.interaction import InnerProducts
from tests.models.layers.contract import (
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
)

FIELDS = np.random.default_rng(0).normal(size=[5, 4, 3]).astype(np.float32)


def test_products_of_small_fields_are_known() -> None:
    fields = np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]], np.float32)
    np.testing.assert_array_equal(InnerProducts()(fields), [[11, 17, 39]])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_all_pairs_are_multiplied_once(count: int) -> None:
    fields = FIELDS[:, :count]
    products = InnerProducts()(fields)
    assert products.shape == (5, count * (count - 1) // 2)
    for row in range(5):
        expected = [
            sum(fields[row, i, d] * fields[row, j, d] for d in range(3))
            for i in range(count)
            for j in range(i + 1, count)
        ]
        np.testing.assert_allclose(products[row], expected, atol=1e-6)


def test_products_are_those_of_tensorflow_recommenders() -> None:
    theirs = tfrs.layers.feature_interaction.DotInteraction()(tf.unstack(FIELDS, axis=1))
    # They give the lower triangle row by row.
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    order = [pairs.index((j, i)) for i in range(4) for j in range(i)]
    np.testing.assert_allclose(tf.gather(InnerProducts()(FIELDS), order, axis=1), theirs, atol=1e-6)


def test_fields_of_width_1_are_numbers() -> None:
    numbers = np.array([[2.0, 3.0, 5.0]], np.float32)
    np.testing.assert_array_equal(InnerProducts()(numbers[:, :, np.newaxis]), [[6, 10, 15]])


def test_a_graph_knows_the_width() -> None:
    in_graph = tf.function(InnerProducts(), input_signature=[tf.TensorSpec([None, 4, 3])])
    assert in_graph.get_concrete_function().output_shapes[1] == 6
    np.testing.assert_allclose(in_graph(FIELDS), InnerProducts()(FIELDS), atol=1e-6)


def test_every_field_gets_a_gradient() -> None:
    fields = tf.Variable(FIELDS)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(InnerProducts()(fields))
    others = FIELDS.sum(axis=1, keepdims=True) - FIELDS
    np.testing.assert_allclose(tape.gradient(total, fields), others, atol=1e-5)


def test_meets_the_contract_of_layers(tmp_path: Path) -> None:
    assert_rows_do_not_mix(InnerProducts(), FIELDS)
    assert_survives_saving(InnerProducts(), FIELDS, tmp_path)
    assert_runs_in_mixed_precision(InnerProducts, FIELDS)
