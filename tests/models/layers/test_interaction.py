from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.layers.interaction import (
    BILINEAR_KINDS,
    BilinearFusion,
    BilinearInteraction,
    CompressedInteractionNetwork,
    FactorizationMachine,
    FieldGraph,
    InnerProducts,
    OuterProduct,
    VectorCross,
)
from tests.models.builders import named_weights, sigmoid, softmax
from tests.models.layers.contract import built
from tests.models.numpy_layers import numpy_linear

RANDOM = np.random.default_rng(0)
INPUTS = (
    RANDOM.normal(size=[5, 6]).astype(np.float32),
    RANDOM.normal(size=[5, 4]).astype(np.float32),
)


class TestBilinearFusion:
    @pytest.mark.parametrize("heads", [1, 2])
    def test_logits_follow_the_formula(self, heads: int) -> None:
        layer = built(BilinearFusion(heads), INPUTS)
        kernel = layer._kernel.numpy()
        assert kernel.shape == (heads, 6 // heads, 4 // heads)
        expected = []
        for first, second in zip(*INPUTS, strict=True):
            logit = numpy_linear(layer._linear, np.concatenate([first, second]))
            for head in range(heads):
                for i in range(6 // heads):
                    for j in range(4 // heads):
                        left, right = first[head * 6 // heads + i], second[head * 4 // heads + j]
                        logit += left * kernel[head, i, j] * right
            expected.append([logit])
        np.testing.assert_allclose(layer(INPUTS), expected, atol=1e-5)

    def test_products_start_at_the_scale_of_the_streams(self) -> None:
        layer = BilinearFusion(2)
        streams = np.random.default_rng(1).normal(size=[2, 2000, 80]).astype(np.float32)
        layer(tuple(streams))
        kernel, bias = layer._linear.get_weights()
        layer._linear.set_weights([0 * kernel, bias])
        assert 0.7 < np.std(layer(tuple(streams))) < 2

    @pytest.mark.parametrize("heads", [0, 3, 4])
    def test_heads_must_divide_both_widths(self, heads: int) -> None:
        with pytest.raises(ValueError, match=f"^num_heads must .*num_heads={heads}"):
            BilinearFusion(heads)(INPUTS)


BILINEAR_NUM_FIELDS, BILINEAR_WIDTH = 4, 3
BILINEAR_FIELDS = (
    np.random.default_rng(0)
    .normal(size=[5, BILINEAR_NUM_FIELDS, BILINEAR_WIDTH])
    .astype(np.float32)
)
NUM_MATRICES = {"field_all": 1, "field_each": 3, "field_interaction": 6}


def bilinear(kind: str) -> BilinearInteraction:
    return built(BilinearInteraction(kind), BILINEAR_FIELDS)


def matrix_of(layer: BilinearInteraction, i: int, j: int) -> np.ndarray:
    kernels = [kernel.numpy() for kernel in layer._kernels]
    if layer.kind == "field_all":
        return kernels[0]
    if layer.kind == "field_each":
        return kernels[i]
    position = j - i - 1
    return kernels[i][:, position * BILINEAR_WIDTH : (position + 1) * BILINEAR_WIDTH]


@pytest.mark.parametrize("kind", BILINEAR_KINDS)
class TestBilinearInteractionEveryKind:
    def test_pairs_follow_the_formula(self, kind: str) -> None:
        layer = bilinear(kind)
        expected = [
            [(row[i] @ matrix_of(layer, i, j)) * row[j] for i, j in combinations(range(4), 2)]
            for row in BILINEAR_FIELDS
        ]
        output = layer(BILINEAR_FIELDS)
        assert output.shape == (5, 6, BILINEAR_WIDTH)
        np.testing.assert_allclose(output, expected, atol=1e-5)

    def test_matrices_are_shared_as_the_kind_says(self, kind: str) -> None:
        size = sum(weight.shape.num_elements() for weight in bilinear(kind).trainable_weights)
        assert size == NUM_MATRICES[kind] * BILINEAR_WIDTH * BILINEAR_WIDTH

    def test_every_matrix_starts_at_glorot_s_scale(self, kind: str) -> None:
        layer = BilinearInteraction(kind)
        layer(np.ones([1, 3, 60], np.float32))
        for kernel in layer.get_weights():
            assert np.abs(kernel).max() == pytest.approx(np.sqrt(6 / 120), rel=0.02)


class TestBilinearInteraction:
    def test_an_unknown_kind_is_refused(self) -> None:
        with pytest.raises(ValueError, match="one of .*Received: kind='each'"):
            BilinearInteraction("each")


COMPRESSED_COUNT, COMPRESSED_NUM_FIELDS, COMPRESSED_WIDTH = 3, 4, 5
COMPRESSED_FIELDS = (
    np.random.default_rng(0)
    .normal(size=[COMPRESSED_COUNT, COMPRESSED_NUM_FIELDS, COMPRESSED_WIDTH])
    .astype(np.float32)
)


def network(*units: int) -> CompressedInteractionNetwork:
    return built(CompressedInteractionNetwork(units), COMPRESSED_FIELDS)


def compressed_by_hand(layer: CompressedInteractionNetwork, fields: np.ndarray) -> list[float]:
    """Eq. (6) and (7), one product at a time."""
    kernels = named_weights(layer)
    rows, pooled = list(fields), []
    for number, units in enumerate(layer.units):
        kernel = kernels[f"layer_{number}_kernel"].reshape(len(rows), COMPRESSED_NUM_FIELDS, units)
        next_rows = []
        for unit in range(units):
            total = np.zeros(COMPRESSED_WIDTH)
            for i, row in enumerate(rows):
                for j, field in enumerate(fields):
                    total += kernel[i, j, unit] * row * field
            next_rows.append(total)
        rows = next_rows
        pooled += [float(row.sum()) for row in rows]
    return pooled


class TestCompressedInteractionNetwork:
    @pytest.mark.parametrize("units", [(3,), (3, 2), (2, 4, 1)])
    def test_output_follows_the_formula(self, units: tuple[int, ...]) -> None:
        layer = network(*units)
        output = layer(COMPRESSED_FIELDS)
        assert output.shape == (COMPRESSED_COUNT, sum(units))
        np.testing.assert_allclose(
            output,
            [compressed_by_hand(layer, row) for row in COMPRESSED_FIELDS],
            rtol=1e-4,
            atol=1e-5,
        )

    def test_a_layer_is_one_order_above_the_last(self) -> None:
        layer = network(2, 2, 2)
        once, twice = layer(COMPRESSED_FIELDS).numpy(), layer(2 * COMPRESSED_FIELDS).numpy()
        np.testing.assert_allclose(twice, once * [4, 4, 8, 8, 16, 16], rtol=1e-4)


MACHINE_FIELDS = np.random.default_rng(0).normal(size=[3, 4, 5]).astype(np.float32)


class TestFactorizationMachine:
    @pytest.mark.parametrize("count", [1, 2, 4])
    def test_output_is_the_sum_over_pairs(self, count: int) -> None:
        fields = MACHINE_FIELDS[:, :count]
        expected = [[sum(float(v @ w) for v, w in combinations(row, 2))] for row in fields]
        np.testing.assert_allclose(FactorizationMachine()(fields), expected, atol=1e-5)


GRAPH_COUNT, GRAPH_NUM_FIELDS, GRAPH_WIDTH = 3, 4, 5
GRAPH_FIELDS = (
    np.random.default_rng(0)
    .normal(size=[GRAPH_COUNT, GRAPH_NUM_FIELDS, GRAPH_WIDTH])
    .astype(np.float32)
)


def graph(num_steps: int = 2, residual: bool = True) -> FieldGraph:
    return built(FieldGraph(num_steps, residual), GRAPH_FIELDS)


def edges_by_hand(layer: FieldGraph, fields: np.ndarray) -> np.ndarray:
    edge = named_weights(layer)["edge_kernel"]
    vector = np.concatenate([edge[:, 0], edge[:, 1]])
    edges = np.zeros([GRAPH_NUM_FIELDS, GRAPH_NUM_FIELDS])
    for i in range(GRAPH_NUM_FIELDS):
        others = [j for j in range(GRAPH_NUM_FIELDS) if j != i]
        products = [vector @ np.concatenate([fields[i], fields[j]]) for j in others]
        edges[i, others] = softmax(np.array([p if p > 0 else 0.2 * p for p in products]))
    return edges


def graph_by_hand(layer: FieldGraph, fields: np.ndarray) -> np.ndarray:
    """Every node and edge on its own; gates in the order of Keras: update, reset, proposal."""
    parts, edges = named_weights(layer), edges_by_hand(layer, fields)
    kernel, recurrent, bias = layer._cell.get_weights()
    gates = [slice(i * GRAPH_WIDTH, (i + 1) * GRAPH_WIDTH) for i in range(3)]
    states = list(fields)
    for _ in range(layer.num_steps):
        following = []
        for i in range(GRAPH_NUM_FIELDS):
            gathered = np.zeros(GRAPH_WIDTH)
            for j in range(GRAPH_NUM_FIELDS):
                gathered += edges[i, j] * (states[j] @ parts["send_kernel"][j])
            message = gathered @ parts["receive_kernel"][i] + layer._bias.numpy()
            keep, reset = (
                sigmoid(message @ kernel[:, gate] + states[i] @ recurrent[:, gate] + bias[gate])
                for gate in gates[:2]
            )
            proposed = np.tanh(
                message @ kernel[:, gates[2]]
                + (reset * states[i]) @ recurrent[:, gates[2]]
                + bias[gates[2]]
            )
            state = keep * states[i] + (1 - keep) * proposed
            following.append(state + fields[i] if layer.residual else state)
        states = following
    return np.stack(states)


class TestFieldGraph:
    def test_edges_follow_the_formula(self) -> None:
        layer = graph()
        edges = layer.edges(GRAPH_FIELDS)
        np.testing.assert_allclose(
            edges, [edges_by_hand(layer, row) for row in GRAPH_FIELDS], atol=1e-6
        )
        np.testing.assert_array_equal(np.einsum("nii->ni", edges), 0)

    @pytest.mark.parametrize("num_steps", [1, 2, 3])
    @pytest.mark.parametrize("residual", [True, False])
    def test_states_follow_the_equations(self, num_steps: int, residual: bool) -> None:
        layer = graph(num_steps, residual)
        expected = [graph_by_hand(layer, row) for row in GRAPH_FIELDS]
        np.testing.assert_allclose(layer(GRAPH_FIELDS), expected, atol=1e-5)

    def test_two_fields_see_each_other_only(self) -> None:
        layer, two = FieldGraph(), GRAPH_FIELDS[:, :2]
        layer(two)
        np.testing.assert_allclose(layer.edges(two), [[[0, 1], [1, 0]]] * GRAPH_COUNT)


INNER_FIELDS = np.random.default_rng(0).normal(size=[5, 4, 3]).astype(np.float32)


class TestInnerProducts:
    @pytest.mark.parametrize("count", [1, 2, 4])
    def test_all_pairs_are_multiplied_once(self, count: int) -> None:
        fields = INNER_FIELDS[:, :count]
        products = InnerProducts()(fields)
        assert products.shape == (5, count * (count - 1) // 2)
        for row in range(5):
            expected = [
                sum(fields[row, i, d] * fields[row, j, d] for d in range(3))
                for i in range(count)
                for j in range(i + 1, count)
            ]
            np.testing.assert_allclose(products[row], expected, atol=1e-6)

    def test_products_are_those_of_tensorflow_recommenders(self) -> None:
        theirs = tfrs.layers.feature_interaction.DotInteraction()(tf.unstack(INNER_FIELDS, axis=1))
        # They give the lower triangle row by row.
        pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
        order = [pairs.index((j, i)) for i in range(4) for j in range(i)]
        np.testing.assert_allclose(
            tf.gather(InnerProducts()(INNER_FIELDS), order, axis=1), theirs, atol=1e-6
        )

    def test_a_graph_knows_the_width(self) -> None:
        in_graph = tf.function(
            InnerProducts(), input_signature=[tf.TensorSpec([None, 4, 3])], autograph=False
        )
        assert in_graph.get_concrete_function().output_shapes[1] == 6
        np.testing.assert_allclose(in_graph(INNER_FIELDS), InnerProducts()(INNER_FIELDS), atol=1e-6)

    def test_every_field_gets_a_gradient(self) -> None:
        fields = tf.Variable(INNER_FIELDS)
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(InnerProducts()(fields))
        others = INNER_FIELDS.sum(axis=1, keepdims=True) - INNER_FIELDS
        np.testing.assert_allclose(tape.gradient(total, fields), others, atol=1e-5)


OUTER_FIELDS = np.random.default_rng(0).normal(size=[5, 4, 3]).astype(np.float32)


class TestOuterProduct:
    def test_outer_products_of_all_pairs_are_superposed(self) -> None:
        products = OuterProduct()(OUTER_FIELDS)
        assert products.shape == (5, 6)
        for row in range(5):
            superposed = np.zeros([3, 3])
            for left in OUTER_FIELDS[row]:
                for right in OUTER_FIELDS[row]:
                    superposed += np.outer(left, right)
            np.testing.assert_allclose(products[row], superposed[np.triu_indices(3)], atol=1e-5)

    def test_a_graph_knows_the_width(self) -> None:
        in_graph = tf.function(
            OuterProduct(), input_signature=[tf.TensorSpec([None, 4, 3])], autograph=False
        )
        assert in_graph.get_concrete_function().output_shapes[1] == 6
        np.testing.assert_allclose(in_graph(OUTER_FIELDS), OuterProduct()(OUTER_FIELDS), atol=1e-6)

    def test_every_field_gets_a_gradient(self) -> None:
        fields = tf.Variable(OUTER_FIELDS)
        with tf.GradientTape() as tape:
            products = OuterProduct()(fields)
        gradient = tape.gradient(products, fields)
        # Of sum_{a <= b} s_a s_b: the sum of s and s_a once more.
        total = OUTER_FIELDS.sum(axis=1)
        expected = total.sum(axis=1, keepdims=True) + total
        np.testing.assert_allclose(gradient, np.repeat(expected[:, np.newaxis], 4, 1), atol=1e-5)


CROSS_COUNT, CROSS_WIDTH = 4, 5


def inputs() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    first, crossed = (
        random.normal(size=[CROSS_COUNT, CROSS_WIDTH]).astype(np.float32) for _ in range(2)
    )
    return first, crossed


class TestVectorCross:
    def test_crosses_follow_the_formula(self) -> None:
        layer, (first, crossed) = built(VectorCross(), inputs()), inputs()
        parts = named_weights(layer)
        expected = np.zeros([CROSS_COUNT, CROSS_WIDTH])
        for row in range(CROSS_COUNT):
            product = sum(crossed[row, i] * parts["kernel"][i, 0] for i in range(CROSS_WIDTH))
            for column in range(CROSS_WIDTH):
                expected[row, column] = (
                    first[row, column] * product + parts["bias"][column] + crossed[row, column]
                )
        np.testing.assert_allclose(layer((first, crossed)), expected, atol=1e-5)

    def test_it_is_a_matrix_cross_whose_columns_are_equal(self) -> None:
        layer, (first, crossed) = built(VectorCross(), inputs()), inputs()
        parts = named_weights(layer)
        matrix_cross = tfrs.layers.dcn.Cross(use_bias=False)
        matrix_cross(first, crossed)
        matrix_cross.set_weights([np.repeat(parts["kernel"], CROSS_WIDTH, axis=1)])
        np.testing.assert_allclose(
            layer((first, crossed)), matrix_cross(first, crossed) + parts["bias"], atol=1e-5
        )
