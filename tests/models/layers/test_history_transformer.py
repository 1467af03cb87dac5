from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.layers.sequence import HistoryTransformer, steps_after
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)
from tests.models.numpy_transformer import numpy_transformer

COUNT, LENGTH, WIDTH, STEP_WIDTH, UNITS = 4, 5, 3, 7, 6
FORMS: list[dict[str, Any]] = [
    {},
    {"num_blocks": 2},
    {"outputs": "all"},
    {"outputs": "all", "num_blocks": 2, "num_positions": 3},
    {"num_positions": 2},
]
Inputs = tuple[np.ndarray, np.ndarray, np.ndarray]


def inputs(users: int = COUNT) -> Inputs:
    """Histories of 5, 3, 1 and 0 real steps, padded in front."""
    random = np.random.default_rng(0)
    return (
        random.normal(size=[COUNT, WIDTH]).astype(np.float32),
        random.normal(size=[users, LENGTH, STEP_WIDTH]).astype(np.float32),
        np.arange(LENGTH) >= np.array([[0], [2], [4], [5]])[:users],
    )


def transformer(**options: Any) -> HistoryTransformer:
    defaults = {"units": UNITS, "num_heads": 2, "feed_forward_units": 8, "num_positions": 5}
    return HistoryTransformer(**(defaults | options))


@pytest.mark.parametrize("form", FORMS, ids=str)
class TestEveryForm:
    @pytest.mark.parametrize("users", [1, COUNT])
    def test_outputs_follow_the_formula(self, form: dict[str, Any], users: int) -> None:
        layer = built(transformer(**form), inputs())
        candidates, history, mask = inputs(users)
        expected = [
            numpy_transformer(layer, candidates[row], history[row % users], mask[row % users])
            for row in range(COUNT)
        ]
        outputs = layer((candidates, history, mask))
        np.testing.assert_allclose(outputs, expected, atol=2e-5)
        assert np.ptp(expected) > 0.1

    def test_padding_anywhere_changes_nothing(self, form: dict[str, Any]) -> None:
        layer, (candidates, history, mask) = built(transformer(**form), inputs()), inputs()
        holes = [0, 0, 2, 3, 5, 5]
        padded = np.insert(history, holes, 50, axis=1)
        padded_mask = np.insert(mask, holes, False, axis=1)
        np.testing.assert_allclose(
            layer((candidates, padded, padded_mask)),
            layer((candidates, history, mask)),
            atol=1e-5,
        )

    def test_one_user_equals_repeated_users(self, form: dict[str, Any]) -> None:
        layer = built(transformer(**form), inputs())
        candidates, history, mask = inputs(users=1)
        repeated = (candidates, np.repeat(history, COUNT, 0), np.repeat(mask, COUNT, 0))
        np.testing.assert_allclose(layer((candidates, history, mask)), layer(repeated), atol=1e-5)

    def test_an_empty_history_is_finite(self, form: dict[str, Any]) -> None:
        layer, (candidates, history, mask) = built(transformer(**form), inputs()), inputs()
        nothing = layer((candidates, history[:, :0], mask[:, :0]))
        assert np.isfinite(nothing).all()
        np.testing.assert_allclose(layer((candidates, history, mask & False)), nothing, atol=1e-6)

    def test_rows_do_not_mix(self, form: dict[str, Any]) -> None:
        assert_rows_do_not_mix(built(transformer(**form), inputs()), inputs())

    def test_every_weight_learns(self, form: dict[str, Any]) -> None:
        assert_every_weight_learns(built(transformer(**form), inputs()), inputs())

    def test_graph_equals_eager(self, form: dict[str, Any]) -> None:
        layer, batch = built(transformer(**form), inputs()), inputs()
        specifications = (
            tf.TensorSpec([None, WIDTH]),
            tf.TensorSpec([None, None, STEP_WIDTH]),
            tf.TensorSpec([None, None], tf.bool),
        )
        in_graph = tf.function(layer, input_signature=[specifications])
        assert in_graph.get_concrete_function().output_shapes[1] == layer(batch).shape[1]
        np.testing.assert_allclose(in_graph(batch), layer(batch), atol=1e-6)

    def test_runs_in_mixed_precision(self, form: dict[str, Any]) -> None:
        assert_runs_in_mixed_precision(lambda: transformer(**form), inputs())


def test_survives_saving(tmp_path: Path) -> None:
    layer = built(transformer(outputs="all", dropout_rate=0.2, num_blocks=2), inputs())
    assert_survives_saving(layer, inputs(), tmp_path)


def test_the_order_of_the_steps_counts() -> None:
    layer, (candidates, history, _) = built(transformer(), inputs()), inputs()
    everything = np.ones([COUNT, LENGTH], bool)
    forward = layer((candidates, history, everything))
    backward = layer((candidates, history[:, ::-1], everything))
    assert np.abs(forward - backward).max() > 0.01


def test_steps_are_counted_from_the_newest() -> None:
    mask = np.array([[True, False, True, True, False], [False] * 5])
    np.testing.assert_array_equal(steps_after(mask), [[2, 2, 1, 0, 0], [0] * 5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": "mean"}, r"one of \('candidate', 'all'\)\. Received: outputs='mean'"),
        ({"num_blocks": 0}, "Received: num_blocks=0"),
        ({"num_heads": 4}, "num_heads must divide units"),
        ({"num_positions": 0}, "Received: num_positions=0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        transformer(**options)


def test_configuration_makes_the_same_layer_again() -> None:
    layer = transformer(outputs="all", num_blocks=2, dropout_rate=0.25, name="reader")
    again = HistoryTransformer.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.units, again.num_heads, again.num_blocks, again.outputs) == (6, 2, 2, "all")
    assert (again.feed_forward_units, again.num_positions, again.dropout_rate) == (8, 5, 0.25)
