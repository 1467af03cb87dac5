from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.layers.sequence import GRU_KINDS, AttentionGRU
from tests.models.builders import named_weights, sigmoid
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)

COUNT, LENGTH, WIDTH, UNITS = 4, 5, 3, 2
# Padding in front, behind, between and everywhere.
MASK = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]], bool)
Inputs = tuple[np.ndarray, ...]


def inputs(kind: str, users: int = COUNT) -> Inputs:
    random = np.random.default_rng(0)
    steps = random.normal(size=[COUNT, LENGTH, WIDTH]).astype(np.float32)[:users]
    weights = random.uniform(size=[COUNT, LENGTH]).astype(np.float32)
    return (steps, MASK[:users], *([] if kind == "gru" else [weights]))


def gru(kind: str, **options: Any) -> AttentionGRU:
    return built(AttentionGRU(UNITS, kind, **options), inputs(kind))


def numpy_states(
    layer: AttentionGRU, steps: np.ndarray, mask: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """The equations of the paper, one history and step at a time: [length, units]."""
    parts = named_weights(layer)
    names = ("r", "g") if layer.kind == "agru" else ("r", "g", "u")
    slices = {name: slice(i * UNITS, (i + 1) * UNITS) for i, name in enumerate(names)}
    input_matrix = {name: parts["kernel"][:, part] for name, part in slices.items()}
    state_matrix = {name: parts["recurrent_kernel"][:, part] for name, part in slices.items()}
    bias = {name: parts["bias"][part] for name, part in slices.items()}
    state, states = np.zeros(UNITS), []
    for step, real, weight in zip(steps, mask, weights, strict=True):
        if real:
            seen = weight * step if layer.kind == "aigru" else step
            reset = sigmoid(seen @ input_matrix["r"] + state @ state_matrix["r"] + bias["r"])
            proposed = np.tanh(
                seen @ input_matrix["g"] + reset * (state @ state_matrix["g"]) + bias["g"]
            )
            if layer.kind == "agru":
                update = np.full(UNITS, weight)
            else:
                update = sigmoid(seen @ input_matrix["u"] + state @ state_matrix["u"] + bias["u"])
            if layer.kind == "augru":
                update = update * weight
            state = (1 - update) * state + update * proposed
        states.append(state)
    return np.array(states)


@pytest.mark.parametrize("kind", GRU_KINDS)
class TestEveryKind:
    @pytest.mark.parametrize("users", [1, COUNT])
    def test_states_follow_the_equations(self, kind: str, users: int) -> None:
        every, last = gru(kind, return_sequences=True), gru(kind)
        arguments = inputs(kind, users)
        rows = users if kind == "gru" else COUNT
        weights = arguments[2] if kind != "gru" else np.ones([rows, LENGTH])
        expected = [
            numpy_states(every, arguments[0][row % users], MASK[row % users], weights[row])
            for row in range(rows)
        ]
        assert np.ptp(expected) > 0.1
        np.testing.assert_allclose(every(arguments), expected, atol=1e-5)
        np.testing.assert_allclose(last(arguments), np.array(expected)[:, -1], atol=1e-5)

    def test_what_padding_holds_changes_nothing(self, kind: str) -> None:
        layer, (steps, mask, *weights) = gru(kind), inputs(kind)
        other = np.where(mask[:, :, np.newaxis], steps, 40).astype(np.float32)
        np.testing.assert_array_equal(layer((other, mask, *weights)), layer(inputs(kind)))

    @pytest.mark.parametrize("return_sequences", [False, True])
    def test_a_history_of_length_0(self, kind: str, return_sequences: bool) -> None:
        layer = gru(kind, return_sequences=return_sequences)
        empty = [part[:, :0] for part in inputs(kind)]
        shape = (COUNT, 0, UNITS) if return_sequences else (COUNT, UNITS)
        np.testing.assert_array_equal(layer(empty), np.zeros(shape))
        signature = [tf.TensorSpec([None, None, *part.shape[2:]], part.dtype) for part in empty]
        in_graph = tf.function(layer, input_signature=[tuple(signature)])
        np.testing.assert_array_equal(in_graph(tuple(empty)), np.zeros(shape))
        np.testing.assert_allclose(in_graph(inputs(kind)), layer(inputs(kind)), atol=1e-6)

    def test_rows_do_not_mix(self, kind: str) -> None:
        assert_rows_do_not_mix(gru(kind), inputs(kind))

    @pytest.mark.parametrize("return_sequences", [False, True])
    def test_every_weight_learns(self, kind: str, return_sequences: bool) -> None:
        layer = gru(kind, return_sequences=return_sequences)
        assert_every_weight_learns(layer, inputs(kind))

    def test_survives_saving(self, kind: str, tmp_path: Path) -> None:
        assert_survives_saving(gru(kind), inputs(kind), tmp_path)

    def test_runs_in_mixed_precision(self, kind: str) -> None:
        assert_runs_in_mixed_precision(lambda: AttentionGRU(UNITS, kind), inputs(kind))


def test_gru_is_that_of_keras() -> None:
    layer, (steps, _) = gru("gru", return_sequences=True), inputs("gru")
    keras = tf.keras.layers.GRU(UNITS, return_sequences=True, reset_after=True)
    keras(steps)
    parts = named_weights(layer)

    def as_keras(values: np.ndarray) -> np.ndarray:
        """Update gate first, and turned round: Keras keeps where we renew."""
        reset, proposed, update = np.split(values, 3, axis=-1)
        return np.concatenate([-update, reset, proposed], axis=-1)

    bias = as_keras(parts["bias"])
    keras.set_weights(
        [
            as_keras(parts["kernel"]),
            as_keras(parts["recurrent_kernel"]),
            np.stack([bias, np.zeros_like(bias)]),
        ]
    )
    everything = np.ones([COUNT, LENGTH], bool)
    np.testing.assert_allclose(layer((steps, everything)), keras(steps), atol=1e-6)


def test_an_unattended_step_leaves_agru_and_augru_unmoved() -> None:
    steps, mask, weights = inputs("augru")
    for kind in ("agru", "augru"):
        layer = gru(kind)
        np.testing.assert_array_equal(layer((steps, mask, 0 * weights)), np.zeros([COUNT, UNITS]))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="one of .*Received: kind='lstm'"):
        AttentionGRU(UNITS, "lstm")


def test_configuration_makes_the_same_layer_again() -> None:
    layer = AttentionGRU(7, "agru", return_sequences=True, name="evolution")
    again = AttentionGRU.from_config(layer.get_config())
    assert (again.units, again.kind, again.return_sequences) == (7, "agru", True)
    assert again.name == "evolution"
