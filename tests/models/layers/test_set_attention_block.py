from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.layers.set_attention import SetAttentionBlock
from tests.models.layers.contract import assert_meets_the_contract, built
from tests.models.layers.sets import SETS, SIZE, normal, other_padding, set_mask
from tests.models.numpy_sets import numpy_set_block

QUERIES, WIDTH = 3, 6


def inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return normal(SETS, QUERIES, WIDTH), normal(SETS, SIZE, 5, seed=1), set_mask()


def block(**options: Any) -> SetAttentionBlock:
    return SetAttentionBlock(**({"num_heads": 2, "feed_forward_units": 7} | options))


@pytest.mark.parametrize("heads", [1, 3])
def test_outputs_follow_the_formula(heads: int) -> None:
    layer, (queries, members, mask) = built(block(num_heads=heads), inputs()), inputs()
    outputs = layer(inputs())
    assert outputs.shape == (SETS, QUERIES, WIDTH)
    for row in range(SETS):
        expected = numpy_set_block(layer, list(queries[row]), list(members[row][mask[row]]))
        np.testing.assert_allclose(outputs[row], expected, atol=1e-5)


def test_order_of_queries_and_members() -> None:
    layer, (queries, members, mask) = built(block(), inputs()), inputs()
    swapped = layer((queries[:, ::-1], members[:, [2, 0, 4, 1, 3]], mask[:, [2, 0, 4, 1, 3]]))
    np.testing.assert_allclose(swapped, layer(inputs())[:, ::-1], atol=1e-5)


def test_what_padding_holds_changes_nothing() -> None:
    layer, (queries, members, mask) = built(block(), inputs()), inputs()
    other = layer((queries, other_padding(members, mask), mask))
    np.testing.assert_allclose(other, layer(inputs()), atol=1e-6)


def test_dropout_acts_in_training_only() -> None:
    layer = built(block(dropout_rate=0.5), inputs())
    np.testing.assert_array_equal(layer(inputs()), layer(inputs(), training=False))
    assert np.abs(layer(inputs(), training=True) - layer(inputs())).max() > 1e-2


def test_contract(tmp_path: Path) -> None:
    layer = built(block(), inputs())
    # Four projections, two dense layers with bias, two normalisations.
    assert len(layer.trainable_weights) == 4 + 2 * 2 + 2 * 2
    assert_meets_the_contract(block, inputs(), tmp_path)


def test_configuration_makes_the_same_layer_again() -> None:
    layer = block(dropout_rate=0.25, name="block")
    again = SetAttentionBlock.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.num_heads, again.feed_forward_units, again.dropout_rate) == (2, 7, 0.25)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="divide units.*num_heads=4, units=6"):
        block(num_heads=4)(inputs())
