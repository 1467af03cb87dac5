from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.layers.gates import FactorGate, FeatureGate, MaskBlock, SqueezeExcitation, ZeroStart
from tests.models.builders import named_weights, relu, sigmoid, softmax
from tests.models.layers.contract import assert_every_weight_learns, built
from tests.models.numpy_layers import dense, numpy_mask_block, numpy_top

FACTOR_FIELDS = np.random.default_rng(0).normal(size=[5, 3, 4]).astype(np.float32)


class TestFactorGate:
    def test_outputs_and_weights_follow_the_formula(self) -> None:
        layer = built(FactorGate(), FACTOR_FIELDS)
        weights = named_weights(layer)
        for fields, output, shares in zip(
            FACTOR_FIELDS, layer(FACTOR_FIELDS), layer.weights_of(FACTOR_FIELDS), strict=True
        ):
            expected = softmax(np.concatenate(list(fields)) @ weights["kernel"] + weights["bias"])
            np.testing.assert_allclose(shares, expected, atol=1e-5)
            mixed = sum(share * field for share, field in zip(expected, fields, strict=True))
            np.testing.assert_allclose(output, mixed, atol=1e-5)

    def test_lists_of_entities_are_gated_one_by_one(self) -> None:
        layer = built(FactorGate(), FACTOR_FIELDS)
        lists = np.stack([FACTOR_FIELDS[:2], FACTOR_FIELDS[3:]])
        assert layer(lists).shape == (2, 2, 4)
        np.testing.assert_allclose(layer(lists)[1, 0], layer(FACTOR_FIELDS)[3], atol=1e-6)
        np.testing.assert_allclose(
            layer.weights_of(lists)[1, 0], layer.weights_of(FACTOR_FIELDS)[3], 1e-5
        )

    def test_weights_may_be_the_first_call(self) -> None:
        layer = FactorGate()
        shares = layer.weights_of(FACTOR_FIELDS)
        assert len(layer.trainable_weights) == 2
        layer(FACTOR_FIELDS)
        np.testing.assert_array_equal(layer.weights_of(FACTOR_FIELDS), shares)
        np.testing.assert_allclose(np.sum(shares, axis=1), np.ones(5), atol=1e-6)

    def test_one_factor_has_all_the_weight(self) -> None:
        layer = built(FactorGate(), FACTOR_FIELDS[:, :1])
        np.testing.assert_allclose(layer(FACTOR_FIELDS[:, :1]), FACTOR_FIELDS[:, 0], atol=1e-6)

    def test_shapes_are_known_in_a_graph(self) -> None:
        layer = built(FactorGate(), FACTOR_FIELDS)

        @tf.function(input_signature=[tf.TensorSpec([None, 3, 4])], autograph=False)
        def in_graph(fields: tf.Tensor) -> tf.Tensor:
            assert layer(fields).shape.as_list() == [None, 4]
            assert layer.weights_of(fields).shape.as_list() == [None, 3]
            return layer(fields)

        np.testing.assert_allclose(in_graph(FACTOR_FIELDS), layer(FACTOR_FIELDS), atol=1e-6)


GATE_RANDOM = np.random.default_rng(0)
FEATURES = GATE_RANDOM.normal(size=[5, 4]).astype(np.float32)
CONTEXTS = GATE_RANDOM.normal(size=[5, 3]).astype(np.float32)
GATE_INPUTS = (FEATURES, CONTEXTS)


class TestFeatureGate:
    @pytest.mark.parametrize("hidden_units", [(), (6,), (6, 5)])
    def test_outputs_follow_the_formula(self, hidden_units: Sequence[int]) -> None:
        layer = built(FeatureGate(hidden_units), GATE_INPUTS)
        kernel, bias = dense(layer._importance)
        expected = []
        for features, context in zip(FEATURES, CONTEXTS, strict=True):
            gate = numpy_top(layer._hidden, context) @ kernel + bias
            expected.append([2 * sigmoid(gate[i]) * features[i] for i in range(4)])
        np.testing.assert_allclose(layer(GATE_INPUTS), expected, atol=1e-5)

    def test_a_shared_context_equals_repeated_contexts(self) -> None:
        layer = built(FeatureGate((6,)), GATE_INPUTS)
        repeated = (FEATURES, np.repeat(CONTEXTS[:1], 5, axis=0))
        np.testing.assert_allclose(layer((FEATURES, CONTEXTS[:1])), layer(repeated), atol=1e-6)

    def test_an_undecided_gate_changes_nothing(self) -> None:
        layer = FeatureGate((6,))
        layer(GATE_INPUTS)
        layer._importance.set_weights([np.zeros([6, 4]), np.zeros(4)])
        np.testing.assert_allclose(layer(GATE_INPUTS), FEATURES, atol=1e-6)


MASK_BLOCK_RANDOM = np.random.default_rng(0)
INSTANCE = MASK_BLOCK_RANDOM.normal(size=[5, 7]).astype(np.float32)
HIDDEN = MASK_BLOCK_RANDOM.normal(size=[5, 4]).astype(np.float32)
MASK_BLOCK_INPUTS = (INSTANCE, HIDDEN)


class TestMaskBlock:
    @pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
    def test_outputs_follow_the_formula(self, ratio: float) -> None:
        layer = built(MaskBlock(6, ratio), MASK_BLOCK_INPUTS)
        assert layer._aggregation.units == 4 * ratio
        expected = [
            numpy_mask_block(layer, instance, hidden)
            for instance, hidden in zip(INSTANCE, HIDDEN, strict=True)
        ]
        np.testing.assert_allclose(layer(MASK_BLOCK_INPUTS), expected, atol=1e-5)

    def test_a_mask_of_ones_leaves_a_normalised_layer(self) -> None:
        layer = MaskBlock(6)
        layer(MASK_BLOCK_INPUTS)
        kernel, bias = layer._projection.get_weights()
        layer._projection.set_weights([0 * kernel, bias + 1])
        transformed = HIDDEN @ layer._hidden.get_weights()[0]
        centred = transformed - transformed.mean(axis=1, keepdims=True)
        expected = relu(centred / np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + 1e-5))
        np.testing.assert_allclose(layer(MASK_BLOCK_INPUTS), expected, atol=1e-5)

    def test_the_mask_is_at_least_one_unit_wide(self) -> None:
        layer = built(MaskBlock(3, 0.01), MASK_BLOCK_INPUTS)
        assert layer._aggregation.units == 1

    def test_a_ratio_of_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="reduction_ratio must be positive.*reduction_ratio=0"):
            MaskBlock(6, 0)


NUM_FIELDS = 4
EXCITATION_FIELDS = np.random.default_rng(0).normal(size=[6, NUM_FIELDS, 5]).astype(np.float32)


class TestSqueezeExcitation:
    @pytest.mark.parametrize(("factor", "hidden"), [(2.0, 8), (0.5, 2), (0.1, 1)])
    @pytest.mark.parametrize("activation", ["relu", "sigmoid"])
    def test_weights_follow_the_formula(self, factor: float, hidden: int, activation: str) -> None:
        layer = built(SqueezeExcitation(factor, activation), EXCITATION_FIELDS, seed=3)
        first, second = layer.get_weights()
        assert (first.shape, second.shape) == ((NUM_FIELDS, hidden), (hidden, NUM_FIELDS))
        for row, weighted in zip(EXCITATION_FIELDS, layer(EXCITATION_FIELDS).numpy(), strict=True):
            squeezed = np.array([sum(field) / len(field) for field in row])
            excited = relu(squeezed @ first) @ second
            weights = relu(excited) if activation == "relu" else sigmoid(excited)
            for index in range(NUM_FIELDS):
                np.testing.assert_allclose(weighted[index], weights[index] * row[index], atol=1e-6)

    @pytest.mark.parametrize("options", [{"factor": 0.0}, {"activation": "softmax"}], ids=str)
    def test_options_out_of_range_are_refused(self, options: dict[str, Any]) -> None:
        ((option, value),) = options.items()
        with pytest.raises(ValueError, match=f"^{option} must .*Received: {option}={value!r}"):
            SqueezeExcitation(**options)


START_FIELDS = np.random.default_rng(0).normal(size=[5, 3, 4]).astype(np.float32)


class TestZeroStart:
    def test_fields_are_zero_at_first_and_can_learn(self) -> None:
        layer = ZeroStart()
        np.testing.assert_array_equal(layer(START_FIELDS), np.zeros_like(START_FIELDS))
        assert [weight.shape for weight in layer.trainable_weights] == [(3,)]
        assert_every_weight_learns(layer, START_FIELDS)

    def test_every_field_has_a_number_of_its_own(self) -> None:
        layer = ZeroStart()
        layer(START_FIELDS)
        layer.set_weights([np.array([2.0, 0.0, -1.0])])
        expected = np.stack(
            [2 * START_FIELDS[:, 0], 0 * START_FIELDS[:, 1], -START_FIELDS[:, 2]], axis=1
        )
        np.testing.assert_allclose(layer(START_FIELDS), expected, atol=1e-6)
        np.testing.assert_allclose(layer(START_FIELDS[np.newaxis]), expected[np.newaxis], atol=1e-6)
