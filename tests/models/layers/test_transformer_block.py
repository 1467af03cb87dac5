from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.layers.sequence import TransformerBlock, for_every_candidate
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)
from tests.models.numpy_transformer import numpy_block

COUNT, LENGTH, WIDTH = 4, 5, 6
Inputs = tuple[np.ndarray, np.ndarray, np.ndarray]


def inputs(users: int = COUNT) -> Inputs:
    """Histories of 5, 3, 1 and 0 real steps, padded in front."""
    random = np.random.default_rng(0)
    return (
        random.normal(size=[COUNT, WIDTH]).astype(np.float32),
        random.normal(size=[users, LENGTH, WIDTH]).astype(np.float32),
        np.arange(LENGTH) >= np.array([[0], [2], [4], [5]])[:users],
    )


def block(**options: Any) -> TransformerBlock:
    return TransformerBlock(**({"num_heads": 2, "feed_forward_units": 7} | options))


@pytest.mark.parametrize("users", [1, COUNT])
@pytest.mark.parametrize("heads", [1, 2, 3])
def test_outputs_follow_the_formula(users: int, heads: int) -> None:
    candidates, history, mask = inputs(users)
    everything = built(block(num_heads=heads), inputs())
    outputs = everything((candidates, history, mask)).numpy()
    assert outputs.shape == (COUNT, LENGTH + 1, WIDTH)
    for row in range(COUNT):
        real = mask[row % users]
        expected = numpy_block(everything, [*history[row % users][real], candidates[row]])
        np.testing.assert_allclose(outputs[row, [*real, True]], expected, atol=1e-5)


@pytest.mark.parametrize("users", [1, COUNT])
@pytest.mark.parametrize("heads", [1, 2])
def test_the_candidate_alone_is_the_last_of_all(users: int, heads: int) -> None:
    everything = built(block(num_heads=heads), inputs())
    alone = block(num_heads=heads, candidate_only=True)
    alone(inputs())
    alone.set_weights(everything.get_weights())
    np.testing.assert_allclose(alone(inputs(users)), everything(inputs(users))[:, -1:], atol=1e-6)


@pytest.mark.parametrize("candidate_only", [False, True])
class TestBothForms:
    def test_what_padding_holds_changes_nothing(self, candidate_only: bool) -> None:
        layer, (candidates, history, mask) = (
            built(block(candidate_only=candidate_only), inputs()),
            inputs(),
        )
        other = np.where(mask[:, :, np.newaxis], history, 40).astype(np.float32)
        seen = np.concatenate([mask, np.ones([COUNT, 1], bool)], axis=1)
        seen = seen[:, -1:] if candidate_only else seen
        np.testing.assert_allclose(
            layer((candidates, other, mask)).numpy()[seen],
            layer((candidates, history, mask)).numpy()[seen],
            atol=1e-6,
        )

    @pytest.mark.parametrize("length", [0, LENGTH])
    def test_an_empty_history_leaves_the_candidate(self, candidate_only: bool, length: int) -> None:
        layer, (candidates, history, mask) = (
            built(block(candidate_only=candidate_only), inputs()),
            inputs(),
        )
        outputs = layer((candidates, history[:, :length], mask[:, :length] & False))
        for row in range(COUNT):
            (expected,) = numpy_block(layer, [candidates[row]])
            np.testing.assert_allclose(outputs[row, -1], expected, atol=1e-5)

    def test_one_user_equals_repeated_users(self, candidate_only: bool) -> None:
        layer = built(block(candidate_only=candidate_only), inputs())
        candidates, history, mask = inputs(users=1)
        repeated = (candidates, np.repeat(history, COUNT, 0), np.repeat(mask, COUNT, 0))
        np.testing.assert_allclose(layer((candidates, history, mask)), layer(repeated), atol=1e-6)

    def test_rows_do_not_mix(self, candidate_only: bool) -> None:
        assert_rows_do_not_mix(built(block(candidate_only=candidate_only), inputs()), inputs())

    def test_every_weight_learns(self, candidate_only: bool) -> None:
        layer = built(block(candidate_only=candidate_only), inputs())
        # Four projections, two dense layers with bias, two normalisations.
        assert len(layer.trainable_weights) == 4 + 2 * 2 + 2 * 2
        assert_every_weight_learns(layer, inputs())

    def test_survives_saving(self, candidate_only: bool, tmp_path: Path) -> None:
        layer = built(block(candidate_only=candidate_only, dropout_rate=0.2), inputs())
        assert_survives_saving(layer, inputs(), tmp_path)

    def test_runs_in_mixed_precision(self, candidate_only: bool) -> None:
        assert_runs_in_mixed_precision(lambda: block(candidate_only=candidate_only), inputs())


def test_dropout_acts_in_training_only() -> None:
    layer = built(block(dropout_rate=0.5), inputs())
    np.testing.assert_array_equal(layer(inputs()), layer(inputs(), training=False))
    assert np.abs(layer(inputs(), training=True) - layer(inputs())).max() > 1e-2


@pytest.mark.parametrize("heads", [0, 4])
def test_heads_must_divide_the_width(heads: int) -> None:
    with pytest.raises(ValueError, match=f"^num_heads must .*num_heads={heads}"):
        block(num_heads=heads)(inputs())


@pytest.mark.parametrize("users", [1, 2])
def test_a_shared_history_is_repeated(users: int) -> None:
    history = np.array([[[1.0], [2.0]], [[3.0], [4.0]]])[:users]
    repeated = for_every_candidate(history, np.zeros([2, 1, 1]))
    np.testing.assert_array_equal(repeated, history if users == 2 else [[[1], [2]], [[1], [2]]])


def test_configuration_makes_the_same_layer_again() -> None:
    layer = block(dropout_rate=0.25, candidate_only=True, name="block")
    again = TransformerBlock.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.num_heads, again.feed_forward_units, again.dropout_rate) == (2, 7, 0.25)
    assert (again.candidate_only, again.name) == (True, "block")
