from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.layers.attention import MaskedMultiHeadAttention
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)
from tests.models.layers.sets import SETS, SIZE, normal, other_padding, set_mask
from tests.models.numpy_sets import numpy_multi_head

QUERIES = 3


def inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return normal(SETS, QUERIES, 4), normal(SETS, SIZE, 6, seed=1), set_mask()


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_outputs_follow_the_formula(heads: int) -> None:
    layer, (queries, members, mask) = built(MaskedMultiHeadAttention(8, heads), inputs()), inputs()
    outputs = layer(inputs())
    assert outputs.shape == (SETS, QUERIES, 8)
    for row in range(SETS):
        expected = numpy_multi_head(layer, list(queries[row]), list(members[row][mask[row]]))
        np.testing.assert_allclose(outputs[row], expected, atol=1e-5)


def test_of_one_member_everybody_gets_its_value() -> None:
    layer, (_, members, _) = built(MaskedMultiHeadAttention(8, 2), inputs()), inputs()
    value, heads_out = layer._value.get_weights()[0], layer._heads_out.get_weights()[0]
    expected = members[2, 2] @ value @ heads_out
    np.testing.assert_allclose(layer(inputs())[2], [expected] * QUERIES, atol=1e-5)


@pytest.mark.parametrize("size", [0, SIZE])
def test_of_no_member_everybody_gets_zeros(size: int) -> None:
    layer, (queries, members, mask) = built(MaskedMultiHeadAttention(8, 2), inputs()), inputs()
    outputs = layer((queries, members[:, :size], mask[:, :size] & False))
    np.testing.assert_array_equal(outputs, np.zeros([SETS, QUERIES, 8]))


def test_what_padding_holds_changes_nothing() -> None:
    layer, (queries, members, mask) = built(MaskedMultiHeadAttention(8, 2), inputs()), inputs()
    other = layer((queries, other_padding(members, mask), mask))
    np.testing.assert_allclose(other, layer(inputs()), atol=1e-6)


def test_contract(tmp_path: Path) -> None:
    layer = built(MaskedMultiHeadAttention(8, 2), inputs())
    assert len(layer.trainable_weights) == 4
    assert_every_weight_learns(layer, inputs())
    assert_rows_do_not_mix(layer, inputs())
    assert_survives_saving(layer, inputs(), tmp_path)
    assert_runs_in_mixed_precision(lambda: MaskedMultiHeadAttention(8, 2), inputs())


@pytest.mark.parametrize("heads", [0, 3])
def test_heads_must_divide_the_units(heads: int) -> None:
    with pytest.raises(ValueError, match=f"^num_heads must .*num_heads={heads}"):
        MaskedMultiHeadAttention(8, heads)
