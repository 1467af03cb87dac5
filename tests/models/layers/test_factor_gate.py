from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from models.layers.gates import FactorGate
from tests.models.builders import named_weights, softmax
from tests.models.layers.contract import assert_meets_the_contract, built

FIELDS = np.random.default_rng(0).normal(size=[5, 3, 4]).astype(np.float32)


def test_outputs_and_weights_follow_the_formula() -> None:
    layer = built(FactorGate(), FIELDS)
    weights = named_weights(layer)
    for fields, output, shares in zip(FIELDS, layer(FIELDS), layer.weights_of(FIELDS), strict=True):
        expected = softmax(np.concatenate(list(fields)) @ weights["kernel"] + weights["bias"])
        np.testing.assert_allclose(shares, expected, atol=1e-5)
        mixed = sum(share * field for share, field in zip(expected, fields, strict=True))
        np.testing.assert_allclose(output, mixed, atol=1e-5)


def test_lists_of_entities_are_gated_one_by_one() -> None:
    layer = built(FactorGate(), FIELDS)
    lists = np.stack([FIELDS[:2], FIELDS[3:]])
    assert layer(lists).shape == (2, 2, 4)
    np.testing.assert_allclose(layer(lists)[1, 0], layer(FIELDS)[3], atol=1e-6)
    np.testing.assert_allclose(layer.weights_of(lists)[1, 0], layer.weights_of(FIELDS)[3], 1e-5)


def test_weights_may_be_the_first_call() -> None:
    layer = FactorGate()
    shares = layer.weights_of(FIELDS)
    assert len(layer.trainable_weights) == 2
    layer(FIELDS)
    np.testing.assert_array_equal(layer.weights_of(FIELDS), shares)
    np.testing.assert_allclose(np.sum(shares, axis=1), np.ones(5), atol=1e-6)


def test_one_factor_has_all_the_weight() -> None:
    layer = built(FactorGate(), FIELDS[:, :1])
    np.testing.assert_allclose(layer(FIELDS[:, :1]), FIELDS[:, 0], atol=1e-6)


def test_shapes_are_known_in_a_graph() -> None:
    layer = built(FactorGate(), FIELDS)

    @tf.function(input_signature=[tf.TensorSpec([None, 3, 4])])
    def in_graph(fields: tf.Tensor) -> tf.Tensor:
        assert layer(fields).shape.as_list() == [None, 4]
        assert layer.weights_of(fields).shape.as_list() == [None, 3]
        return layer(fields)

    np.testing.assert_allclose(in_graph(FIELDS), layer(FIELDS), atol=1e-6)


def test_meets_the_contract_of_layers(tmp_path: Path) -> None:
    assert_meets_the_contract(FactorGate, FIELDS, tmp_path)
