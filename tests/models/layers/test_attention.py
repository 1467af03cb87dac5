from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.layers.attention import (
    FieldSelfAttention,
    MaskedMultiHeadAttention,
    TargetAttention,
    by_head,
    head_projections,
    head_scores,
    side_by_side,
)
from tests.models.builders import gradients_of, named_weights, randomise, relu, softmax
from tests.models.layers.contract import SETS, SIZE, built, normal, other_padding, set_mask
from tests.models.numpy_layers import numpy_attention, numpy_multi_head

TARGET_COUNT, LENGTH, TARGET_WIDTH, STEP_WIDTH = 4, 5, 3, 6


def target_inputs(users: int = TARGET_COUNT) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return (
        random.normal(size=[TARGET_COUNT, TARGET_WIDTH]).astype(np.float32),
        random.normal(size=[users, LENGTH, STEP_WIDTH]).astype(np.float32),
        np.arange(LENGTH) >= np.array([[0], [2], [4], [5]])[:users],
    )


def target_attention(softmax: bool = False) -> TargetAttention:
    """Hidden layers of 4 and 3 with random weights; moving statistics after one training step."""
    layer = TargetAttention((4, 3), softmax=softmax)
    layer(target_inputs())
    randomise(layer.trainable_weights, seed=1)
    layer(target_inputs(), training=True)
    return layer


def lists() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three candidates for each history; the last candidate of the first list is padding."""
    candidates, history, mask = target_inputs()
    candidates = np.stack([candidates, 2 * candidates, candidates[::-1]], axis=1)
    pairs = np.repeat(mask[:, np.newaxis], 3, axis=1)
    pairs[0, 2] = False
    return candidates, history, pairs


class TestTargetAttention:
    @pytest.mark.parametrize("softmax", [False, True])
    @pytest.mark.parametrize("users", [1, TARGET_COUNT])
    def test_scores_follow_the_formula(self, users: int, softmax: bool) -> None:
        layer, (candidates, history, mask) = target_attention(softmax), target_inputs(users)
        expected = [
            numpy_attention(layer, candidates[row], history[row % users], mask[row % users])
            for row in range(TARGET_COUNT)
        ]
        np.testing.assert_allclose(layer((candidates, history, mask)), expected, atol=1e-5)

    def test_padding_changes_nothing(self) -> None:
        layer, (candidates, history, mask) = target_attention(), target_inputs()
        padded = np.concatenate(
            [np.full([TARGET_COUNT, 3, STEP_WIDTH], 50, np.float32), history], axis=1
        )
        padded_mask = np.concatenate([np.zeros([TARGET_COUNT, 3], bool), mask], axis=1)
        expected = layer((candidates, history, mask))
        np.testing.assert_allclose(layer((candidates, padded, padded_mask)), expected, atol=1e-5)
        masked = np.where(mask[:, :, np.newaxis], history, -7).astype(np.float32)
        np.testing.assert_allclose(layer((candidates, masked, mask)), expected, atol=1e-5)

    @pytest.mark.parametrize("softmax", [False, True])
    @pytest.mark.parametrize("length", [0, LENGTH])
    def test_an_empty_history_gives_zeros(self, length: int, softmax: bool) -> None:
        layer, (candidates, history, mask) = target_attention(softmax), target_inputs()
        pooled = layer((candidates, history[:, :length], mask[:, :length] & False))
        np.testing.assert_array_equal(pooled, np.zeros([TARGET_COUNT, TARGET_WIDTH]))

    def test_a_batch_of_1_equals_its_row_in_a_batch(self) -> None:
        layer, batch = target_attention(), target_inputs()
        together = layer(batch)
        for row in range(TARGET_COUNT):
            alone = layer(tuple(part[row : row + 1] for part in batch))
            np.testing.assert_allclose(alone[0], together[row], atol=1e-5)

    def test_the_strength_of_an_interest_is_kept(self) -> None:
        layer, (candidates, history, mask) = target_attention(), target_inputs()
        twice = np.concatenate([history, history], axis=1), np.concatenate([mask, mask], axis=1)
        np.testing.assert_allclose(
            layer((candidates, *twice)), 2 * layer((candidates, history, mask)), atol=1e-5
        )

    def test_every_trainable_weight_gets_a_gradient(self) -> None:
        layer = target_attention()
        weights = layer.trainable_weights
        # Projection, two hidden layers and the score with kernel and bias each, and two alphas.
        assert len(weights) == 4 * 2 + 2
        gradients = gradients_of(
            lambda: tf.reduce_sum(tf.square(layer(target_inputs(), training=True))), weights
        )
        for weight, gradient in zip(weights, gradients, strict=True):
            assert gradient is not None, weight.name
            assert np.abs(gradient).max() > 0, weight.name

    @pytest.mark.parametrize("users", [1, None])
    def test_graph_equals_eager(self, users: int | None) -> None:
        layer, batch = target_attention(), target_inputs(users or TARGET_COUNT)
        specifications = (
            tf.TensorSpec([None, TARGET_WIDTH]),
            tf.TensorSpec([users, None, STEP_WIDTH]),
            tf.TensorSpec([users, None], tf.bool),
        )
        in_graph = tf.function(layer, input_signature=[specifications], autograph=False)
        np.testing.assert_allclose(in_graph(batch), layer(batch), atol=1e-6)

    def test_lists_equal_candidates_with_a_history_each(self) -> None:
        layer, (candidates, history, pairs) = target_attention(), lists()
        aligned = (
            candidates.reshape([-1, TARGET_WIDTH]),
            np.repeat(history, 3, axis=0),
            pairs.reshape([-1, LENGTH]),
        )
        pooled = layer(lists())
        np.testing.assert_allclose(
            pooled, tf.reshape(layer(aligned), [TARGET_COUNT, 3, TARGET_WIDTH]), atol=1e-5
        )
        np.testing.assert_array_equal(pooled[0, 2], np.zeros(TARGET_WIDTH))
        trained, same = target_attention(), target_attention()
        np.testing.assert_allclose(
            trained(lists(), training=True),
            tf.reshape(same(aligned, training=True), [TARGET_COUNT, 3, TARGET_WIDTH]),
            atol=1e-5,
        )

    def test_padding_candidates_are_in_no_statistics(self) -> None:
        layer, same, (candidates, history, pairs) = target_attention(), target_attention(), lists()
        other = candidates.copy()
        other[0, 2] = 50
        pooled = layer((other, history, pairs), training=True)
        np.testing.assert_allclose(pooled, same(lists(), training=True), atol=1e-5)
        for changed, expected in zip(layer.get_weights(), same.get_weights(), strict=True):
            np.testing.assert_allclose(changed, expected, atol=1e-5)

    def test_lists_in_a_graph_equal_eager(self) -> None:
        layer = target_attention()
        specifications = (
            tf.TensorSpec([None, None, TARGET_WIDTH]),
            tf.TensorSpec([None, None, STEP_WIDTH]),
            tf.TensorSpec([None, None, None], tf.bool),
        )
        in_graph = tf.function(layer, input_signature=[specifications], autograph=False)
        np.testing.assert_allclose(in_graph(lists()), layer(lists()), atol=1e-6)
        candidates, history, pairs = lists()
        empty = in_graph((candidates, history[:, :0], pairs[:, :, :0]))
        np.testing.assert_array_equal(empty, np.zeros([TARGET_COUNT, 3, TARGET_WIDTH]))


class TestHeads:
    def test_a_head_is_a_part_of_every_vector(self) -> None:
        values = np.arange(24.0).reshape(2, 3, 4)
        heads = by_head(values, 2).numpy()
        assert heads.shape == (2, 2, 3, 2)
        np.testing.assert_array_equal(heads[:, 0], values[:, :, :2])
        np.testing.assert_array_equal(heads[:, 1], values[:, :, 2:])
        np.testing.assert_array_equal(side_by_side(heads), values)

    def test_graphs_keep_what_they_know_of_the_sizes(self) -> None:
        @tf.function(input_signature=[tf.TensorSpec([None, 3, 4])], autograph=False)
        def known(values: tf.Tensor) -> tf.Tensor:
            heads = by_head(values, 2)
            assert heads.shape.as_list() == [None, 2, 3, 2]
            assert side_by_side(heads).shape.as_list() == [None, 3, 4]
            return side_by_side(heads)

        @tf.function(input_signature=[tf.TensorSpec([None, None, 4])], autograph=False)
        def unknown(values: tf.Tensor) -> tf.Tensor:
            return side_by_side(by_head(values, 2))

        for values in (np.ones([2, 3, 4]), np.ones([0, 3, 4])):
            np.testing.assert_array_equal(known(values), values)
            np.testing.assert_array_equal(unknown(values), values)
        assert unknown(np.ones([2, 0, 4])).shape == (2, 0, 4)

    def test_scores_are_products_over_the_root_of_the_width(self) -> None:
        query, key = np.full([1, 1, 1, 4], 2.0), np.array([[[[1.0, 2, 3, 4], [0, 0, 0, 1]]]])
        np.testing.assert_allclose(head_scores(query, key), [[[[10, 1]]]])

    def test_projections_are_linear_and_named(self) -> None:
        projections = head_projections(6)
        assert [layer.name for layer in projections] == ["query", "key", "value", "heads_out"]
        for layer in projections:
            np.testing.assert_array_equal(layer(np.zeros([1, 3])), np.zeros([1, 6]))
            assert len(layer.weights) == 1


FIELDS_COUNT, NUM_FIELDS, FIELDS_WIDTH = 3, 4, 5
FIELDS = (
    np.random.default_rng(0)
    .normal(size=[FIELDS_COUNT, NUM_FIELDS, FIELDS_WIDTH])
    .astype(np.float32)
)


def fields_attention(**options: Any) -> FieldSelfAttention:
    return built(FieldSelfAttention(**({"num_heads": 2, "head_units": 3} | options)), FIELDS)


def by_hand(layer: FieldSelfAttention, fields: np.ndarray) -> np.ndarray:
    """Eq. (5) to (8), one head and field at a time."""
    units = layer.num_heads * layer.head_units
    kernel = named_weights(layer)["kernel"]
    queries, keys, values = (kernel[:, i * units : (i + 1) * units] for i in range(3))
    output = np.zeros([NUM_FIELDS, units])
    for head in range(layer.num_heads):
        part = slice(head * layer.head_units, (head + 1) * layer.head_units)
        for m in range(NUM_FIELDS):
            query = fields[m] @ queries[:, part]
            products = np.array([query @ (field @ keys[:, part]) for field in fields])
            if layer.scaled:
                products /= np.sqrt(layer.head_units)
            for weight, field in zip(softmax(products), fields, strict=True):
                output[m, part] += weight * (field @ values[:, part])
    if layer.residual:
        output += fields @ kernel[:, 3 * units :]
    return relu(output)


class TestFieldSelfAttention:
    @pytest.mark.parametrize("heads", [1, 2])
    @pytest.mark.parametrize("scaled", [True, False])
    @pytest.mark.parametrize("residual", [True, False])
    def test_output_follows_the_formula(self, heads: int, scaled: bool, residual: bool) -> None:
        layer = fields_attention(num_heads=heads, scaled=scaled, residual=residual)
        output = layer(FIELDS)
        assert output.shape == (FIELDS_COUNT, NUM_FIELDS, heads * 3)
        assert np.mean(output == 0) < 0.9
        np.testing.assert_allclose(output, [by_hand(layer, row) for row in FIELDS], atol=1e-5)

    def test_fields_have_no_order(self) -> None:
        layer, order = fields_attention(), [2, 0, 3, 1]
        np.testing.assert_allclose(
            layer(FIELDS[:, order]), layer(FIELDS).numpy()[:, order], atol=1e-6
        )

    def test_every_projection_starts_at_glorot_s_scale(self) -> None:
        layer = FieldSelfAttention(num_heads=2, head_units=40)
        layer(np.ones([1, 2, 100], np.float32))
        for part in np.split(named_weights(layer)["kernel"], 4, axis=1):
            assert np.abs(part).max() == pytest.approx(np.sqrt(6 / 180), rel=0.02)

    def test_dropout_acts_in_training_only(self) -> None:
        layer = fields_attention(dropout_rate=0.5)
        np.testing.assert_array_equal(layer(FIELDS), layer(FIELDS, training=False))
        assert np.abs(layer(FIELDS, training=True) - layer(FIELDS)).max() > 1e-2


QUERIES = 3


def multi_head_inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return normal(SETS, QUERIES, 4), normal(SETS, SIZE, 6, seed=1), set_mask()


class TestMaskedMultiHeadAttention:
    @pytest.mark.parametrize("heads", [1, 2, 4])
    def test_outputs_follow_the_formula(self, heads: int) -> None:
        layer, (queries, members, mask) = (
            built(MaskedMultiHeadAttention(8, heads), multi_head_inputs()),
            multi_head_inputs(),
        )
        outputs = layer(multi_head_inputs())
        assert outputs.shape == (SETS, QUERIES, 8)
        for row in range(SETS):
            expected = numpy_multi_head(layer, list(queries[row]), list(members[row][mask[row]]))
            np.testing.assert_allclose(outputs[row], expected, atol=1e-5)

    def test_of_one_member_everybody_gets_its_value(self) -> None:
        layer, (_, members, _) = (
            built(MaskedMultiHeadAttention(8, 2), multi_head_inputs()),
            multi_head_inputs(),
        )
        value, heads_out = layer._value.get_weights()[0], layer._heads_out.get_weights()[0]
        expected = members[2, 2] @ value @ heads_out
        np.testing.assert_allclose(layer(multi_head_inputs())[2], [expected] * QUERIES, atol=1e-5)

    @pytest.mark.parametrize("size", [0, SIZE])
    def test_of_no_member_everybody_gets_zeros(self, size: int) -> None:
        layer, (queries, members, mask) = (
            built(MaskedMultiHeadAttention(8, 2), multi_head_inputs()),
            multi_head_inputs(),
        )
        outputs = layer((queries, members[:, :size], mask[:, :size] & False))
        np.testing.assert_array_equal(outputs, np.zeros([SETS, QUERIES, 8]))

    def test_what_padding_holds_changes_nothing(self) -> None:
        layer, (queries, members, mask) = (
            built(MaskedMultiHeadAttention(8, 2), multi_head_inputs()),
            multi_head_inputs(),
        )
        other = layer((queries, other_padding(members, mask), mask))
        np.testing.assert_allclose(other, layer(multi_head_inputs()), atol=1e-6)

    @pytest.mark.parametrize("heads", [0, 3])
    def test_heads_must_divide_the_units(self, heads: int) -> None:
        with pytest.raises(ValueError, match=f"^num_heads must .*num_heads={heads}"):
            MaskedMultiHeadAttention(8, heads)
