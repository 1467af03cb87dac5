from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.layers.interaction import FieldGraph
from tests.models.builders import named_weights, sigmoid, softmax
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)

COUNT, NUM_FIELDS, WIDTH = 3, 4, 5
FIELDS = np.random.default_rng(0).normal(size=[COUNT, NUM_FIELDS, WIDTH]).astype(np.float32)


def graph(num_steps: int = 2, residual: bool = True) -> FieldGraph:
    return built(FieldGraph(num_steps, residual), FIELDS)


def edges_by_hand(layer: FieldGraph, fields: np.ndarray) -> np.ndarray:
    edge = named_weights(layer)["edge_kernel"]
    vector = np.concatenate([edge[:, 0], edge[:, 1]])
    edges = np.zeros([NUM_FIELDS, NUM_FIELDS])
    for i in range(NUM_FIELDS):
        others = [j for j in range(NUM_FIELDS) if j != i]
        products = [vector @ np.concatenate([fields[i], fields[j]]) for j in others]
        edges[i, others] = softmax(np.array([p if p > 0 else 0.2 * p for p in products]))
    return edges


def by_hand(layer: FieldGraph, fields: np.ndarray) -> np.ndarray:
    """Every node and edge on its own; gates in the order of Keras: update, reset, proposal."""
    parts, edges = named_weights(layer), edges_by_hand(layer, fields)
    kernel, recurrent, bias = layer._cell.get_weights()
    gates = [slice(i * WIDTH, (i + 1) * WIDTH) for i in range(3)]
    states = list(fields)
    for _ in range(layer.num_steps):
        following = []
        for i in range(NUM_FIELDS):
            gathered = np.zeros(WIDTH)
            for j in range(NUM_FIELDS):
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


def test_edges_follow_the_formula() -> None:
    layer = graph()
    edges = layer.edges(FIELDS)
    np.testing.assert_allclose(edges, [edges_by_hand(layer, row) for row in FIELDS], atol=1e-6)
    np.testing.assert_array_equal(np.einsum("nii->ni", edges), 0)


@pytest.mark.parametrize("num_steps", [1, 2, 3])
@pytest.mark.parametrize("residual", [True, False])
def test_states_follow_the_equations(num_steps: int, residual: bool) -> None:
    layer = graph(num_steps, residual)
    expected = [by_hand(layer, row) for row in FIELDS]
    np.testing.assert_allclose(layer(FIELDS), expected, atol=1e-5)


def test_two_fields_see_each_other_only() -> None:
    layer, two = FieldGraph(), FIELDS[:, :2]
    layer(two)
    np.testing.assert_allclose(layer.edges(two), [[[0, 1], [1, 0]]] * COUNT)


def test_rows_do_not_mix() -> None:
    assert_rows_do_not_mix(graph(), FIELDS)


def test_every_weight_learns() -> None:
    layer = graph()
    # Edge scorer, sending and receiving matrices, bias, and three weights of the cell.
    assert len(layer.trainable_weights) == 4 + 3
    assert_every_weight_learns(layer, FIELDS)


def test_survives_saving(tmp_path: Path) -> None:
    assert_survives_saving(graph(), FIELDS, tmp_path)


def test_runs_in_mixed_precision() -> None:
    assert_runs_in_mixed_precision(FieldGraph, FIELDS)


def test_configuration_makes_the_same_layer_again() -> None:
    again = FieldGraph.from_config(graph(3, residual=False).get_config())
    assert (again.num_steps, again.residual) == (3, False)
