from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.layers.set_attention import (
    AttendingBlock,
    FeatureAffinity,
    InducedSetAttention,
    SetAttentionBlock,
    SetToListAttention,
)
from tests.models.builders import randomise
from tests.models.layers.contract import SETS, SIZE, built, normal, other_padding, set_mask
from tests.models.numpy_layers import dense, numpy_induced, numpy_set_block, numpy_set_to_list


class Echo(AttendingBlock):
    """Every query attends to itself alone."""

    def build(self, input_shape: tf.TensorShape) -> None:
        self._build_transformation(input_shape[-1], tf.nn.relu)
        super().build(input_shape)

    def call(self, queries: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        return self._transformed(queries, queries, training)


def normalised(values: np.ndarray, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6) * scale + offset


class TestAttendingBlock:
    def test_output_follows_the_formula(self) -> None:
        layer, queries = Echo(feed_forward_units=7), np.random.default_rng(0).normal(size=[2, 3, 4])
        layer(queries)
        randomise(layer.trainable_weights, seed=1)
        first = normalised(2 * queries, *layer._norms[0].get_weights())
        (hidden, hidden_bias), (narrow, bias) = dense(layer._hidden), dense(layer._narrow)
        added = np.maximum(first @ hidden + hidden_bias, 0) @ narrow + bias
        expected = normalised(first + added, *layer._norms[1].get_weights())
        np.testing.assert_allclose(layer(queries), expected, atol=1e-5)

    def test_dropout_acts_on_both_parts_in_training_only(self) -> None:
        layer, queries = Echo(dropout_rate=0.5), np.random.default_rng(0).normal(size=[2, 3, 4])
        np.testing.assert_array_equal(layer(queries), layer(queries, training=False))
        assert np.abs(layer(queries, training=True) - layer(queries)).max() > 1e-2
        assert [dropout.rate for dropout in layer._dropouts] == [0.5, 0.5]

    def test_the_configuration_makes_an_equal_layer(self) -> None:
        config = Echo(2, 7, 0.25, name="echo").get_config()
        assert Echo.from_config(config).get_config() == config
        assert (config["num_heads"], config["feed_forward_units"], config["dropout_rate"]) == (
            2,
            7,
            0.25,
        )


AFFINITY_STEPS, SET_FIELDS, LIST_FIELDS, AFFINITY_WIDTH = 4, 3, 2, 5


def affinity_inputs() -> tuple[np.ndarray, np.ndarray]:
    return normal(SETS, SIZE, SET_FIELDS, AFFINITY_WIDTH), normal(
        SETS, AFFINITY_STEPS, LIST_FIELDS, AFFINITY_WIDTH, seed=1
    )


class TestFeatureAffinity:
    def test_outputs_follow_the_formula(self) -> None:
        layer, (set_items, list_items) = (
            built(FeatureAffinity(), affinity_inputs()),
            affinity_inputs(),
        )
        kernel, pairs, bias = (weight.astype(np.float64) for weight in layer.get_weights())
        expected = np.zeros([SETS, SIZE, AFFINITY_STEPS])
        for row, i, j in np.ndindex(SETS, SIZE, AFFINITY_STEPS):
            expected[row, i, j] = bias + sum(
                pairs[p, q] * (set_items[row, i, p] @ kernel @ list_items[row, j, q])
                for p, q in np.ndindex(SET_FIELDS, LIST_FIELDS)
            )
        np.testing.assert_allclose(layer(affinity_inputs()), expected, atol=1e-4)

    def test_empty_sets_and_lists(self) -> None:
        layer, (set_items, list_items) = (
            built(FeatureAffinity(), affinity_inputs()),
            affinity_inputs(),
        )
        assert layer((set_items, list_items[:, :0])).shape == (SETS, SIZE, 0)
        assert layer((set_items[:, :0], list_items)).shape == (SETS, 0, AFFINITY_STEPS)


INDUCED_WIDTH = 6


def induced_inputs() -> tuple[np.ndarray, np.ndarray]:
    return normal(SETS, SIZE, INDUCED_WIDTH), set_mask()


def induced(**options: Any) -> InducedSetAttention:
    return InducedSetAttention(
        **({"num_points": 3, "num_heads": 2, "feed_forward_units": 7} | options)
    )


class TestInducedSetAttention:
    @pytest.mark.parametrize("points", [1, 3])
    def test_outputs_follow_the_formula(self, points: int) -> None:
        layer, (members, mask) = (
            built(induced(num_points=points), induced_inputs()),
            induced_inputs(),
        )
        outputs = layer(induced_inputs()).numpy()
        assert outputs.shape == (SETS, SIZE, INDUCED_WIDTH)
        for row in range(SETS):
            real = mask[row]
            expected = numpy_induced(layer, list(members[row][real]))
            np.testing.assert_allclose(
                outputs[row][real], np.reshape(expected, [-1, INDUCED_WIDTH]), atol=1e-5
            )

    def test_a_permutation_permutes_the_output(self) -> None:
        layer, (members, mask), order = (
            built(induced(), induced_inputs()),
            induced_inputs(),
            [2, 0, 4, 1, 3],
        )
        permuted = layer((members[:, order], mask[:, order]))
        np.testing.assert_allclose(permuted, layer(induced_inputs()).numpy()[:, order], atol=1e-5)

    def test_what_padding_holds_changes_nothing(self) -> None:
        layer, (members, mask) = built(induced(), induced_inputs()), induced_inputs()
        other = layer((other_padding(members, mask), mask)).numpy()
        np.testing.assert_allclose(other[mask], layer(induced_inputs()).numpy()[mask], atol=1e-6)

    def test_dropout_acts_in_training_only(self) -> None:
        layer = built(induced(dropout_rate=0.5), induced_inputs())
        np.testing.assert_array_equal(
            layer(induced_inputs()), layer(induced_inputs(), training=False)
        )
        assert np.abs(layer(induced_inputs(), training=True) - layer(induced_inputs())).max() > 1e-2

    def test_there_must_be_a_point(self) -> None:
        with pytest.raises(ValueError, match="num_points must .*num_points=0"):
            induced(num_points=0)


QUERIES, SET_BLOCK_WIDTH = 3, 6


def set_block_inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return normal(SETS, QUERIES, SET_BLOCK_WIDTH), normal(SETS, SIZE, 5, seed=1), set_mask()


def block(**options: Any) -> SetAttentionBlock:
    return SetAttentionBlock(**({"num_heads": 2, "feed_forward_units": 7} | options))


class TestSetAttentionBlock:
    @pytest.mark.parametrize("heads", [1, 3])
    def test_outputs_follow_the_formula(self, heads: int) -> None:
        layer, (queries, members, mask) = (
            built(block(num_heads=heads), set_block_inputs()),
            set_block_inputs(),
        )
        outputs = layer(set_block_inputs())
        assert outputs.shape == (SETS, QUERIES, SET_BLOCK_WIDTH)
        for row in range(SETS):
            expected = numpy_set_block(layer, list(queries[row]), list(members[row][mask[row]]))
            np.testing.assert_allclose(outputs[row], expected, atol=1e-5)

    def test_order_of_queries_and_members(self) -> None:
        layer, (queries, members, mask) = built(block(), set_block_inputs()), set_block_inputs()
        swapped = layer((queries[:, ::-1], members[:, [2, 0, 4, 1, 3]], mask[:, [2, 0, 4, 1, 3]]))
        np.testing.assert_allclose(swapped, layer(set_block_inputs())[:, ::-1], atol=1e-5)

    def test_what_padding_holds_changes_nothing(self) -> None:
        layer, (queries, members, mask) = built(block(), set_block_inputs()), set_block_inputs()
        other = layer((queries, other_padding(members, mask), mask))
        np.testing.assert_allclose(other, layer(set_block_inputs()), atol=1e-6)

    def test_dropout_acts_in_training_only(self) -> None:
        layer = built(block(dropout_rate=0.5), set_block_inputs())
        np.testing.assert_array_equal(
            layer(set_block_inputs()), layer(set_block_inputs(), training=False)
        )
        assert (
            np.abs(layer(set_block_inputs(), training=True) - layer(set_block_inputs())).max()
            > 1e-2
        )

    def test_heads_must_divide_the_width(self) -> None:
        with pytest.raises(ValueError, match="divide units.*num_heads=4, units=6"):
            block(num_heads=4)(set_block_inputs())


SET_TO_LIST_STEPS, OF_SET, OF_LIST = 4, 6, 5
Inputs = tuple[np.ndarray, ...]


def set_to_list_inputs() -> Inputs:
    """Sets of 5, 3, 1 and 0 candidates, lists of 4, 3, 0 and 1 steps."""
    steps_mask = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 1]], dtype=bool)
    return (
        normal(SETS, SIZE, OF_SET),
        set_mask(),
        normal(SETS, SET_TO_LIST_STEPS, OF_LIST, seed=1),
        steps_mask,
        normal(SETS, SIZE, SET_TO_LIST_STEPS, seed=2),
        1
        + np.random.default_rng(3).uniform(size=[SETS, SIZE, SET_TO_LIST_STEPS]).astype(np.float32),
    )


class TestSetToListAttention:
    def test_outputs_follow_the_formula(self) -> None:
        layer = built(SetToListAttention(), set_to_list_inputs())
        members, mask, steps, steps_mask, features, decay = set_to_list_inputs()
        outputs = layer(set_to_list_inputs()).numpy()
        assert outputs.shape == (SETS, SIZE, OF_SET + OF_LIST)
        for row in range(SETS):
            real, taken = mask[row], steps_mask[row]
            expected = numpy_set_to_list(
                layer,
                members[row][real],
                steps[row][taken],
                features[row][real][:, taken],
                decay[row][real][:, taken],
            )
            np.testing.assert_allclose(outputs[row][real], expected, atol=1e-5)

    def test_a_permutation_permutes_the_output(self) -> None:
        layer, order = built(SetToListAttention(), set_to_list_inputs()), [2, 0, 4, 1, 3]
        members, mask, steps, steps_mask, features, decay = set_to_list_inputs()
        permuted = layer(
            (
                members[:, order],
                mask[:, order],
                steps,
                steps_mask,
                features[:, order],
                decay[:, order],
            )
        )
        np.testing.assert_allclose(
            permuted, layer(set_to_list_inputs()).numpy()[:, order], atol=1e-5
        )

    def test_what_padding_holds_changes_nothing(self) -> None:
        layer = built(SetToListAttention(), set_to_list_inputs())
        members, mask, steps, steps_mask, features, decay = set_to_list_inputs()
        pairs = mask[:, :, np.newaxis] & steps_mask[:, np.newaxis]
        other = layer(
            (
                other_padding(members, mask),
                mask,
                other_padding(steps, steps_mask),
                steps_mask,
                other_padding(features, pairs),
                other_padding(decay, pairs),
            )
        ).numpy()
        np.testing.assert_allclose(
            other[mask], layer(set_to_list_inputs()).numpy()[mask], atol=1e-5
        )

    def test_without_a_list_its_half_is_zero(self) -> None:
        layer = built(SetToListAttention(), set_to_list_inputs())
        members, mask, steps, steps_mask, features, decay = set_to_list_inputs()
        cut = (members, mask, steps[:, :0], steps_mask[:, :0], features[:, :, :0], decay[:, :, :0])
        for outputs in (
            layer(cut),
            layer((members, mask, steps, steps_mask & False, features, decay)),
        ):
            np.testing.assert_array_equal(outputs[:, :, OF_SET:], np.zeros([SETS, SIZE, OF_LIST]))
            assert np.isfinite(outputs).all()
            assert np.abs(outputs[0]).max() > 0.1
