from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.layers.gates import MaskBlock
from tests.models.builders import relu
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)
from tests.models.numpy_masks import numpy_mask_block

RANDOM = np.random.default_rng(0)
INSTANCE = RANDOM.normal(size=[5, 7]).astype(np.float32)
HIDDEN = RANDOM.normal(size=[5, 4]).astype(np.float32)
INPUTS = (INSTANCE, HIDDEN)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_outputs_follow_the_formula(ratio: float) -> None:
    layer = built(MaskBlock(6, ratio), INPUTS)
    assert layer._aggregation.units == 4 * ratio
    expected = [
        numpy_mask_block(layer, instance, hidden)
        for instance, hidden in zip(INSTANCE, HIDDEN, strict=True)
    ]
    np.testing.assert_allclose(layer(INPUTS), expected, atol=1e-5)


def test_a_mask_of_ones_leaves_a_normalised_layer() -> None:
    layer = MaskBlock(6)
    layer(INPUTS)
    kernel, bias = layer._projection.get_weights()
    layer._projection.set_weights([0 * kernel, bias + 1])
    transformed = HIDDEN @ layer._hidden.get_weights()[0]
    centred = transformed - transformed.mean(axis=1, keepdims=True)
    expected = relu(centred / np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + 1e-5))
    np.testing.assert_allclose(layer(INPUTS), expected, atol=1e-5)


def test_the_mask_is_at_least_one_unit_wide() -> None:
    layer = built(MaskBlock(3, 0.01), INPUTS)
    assert layer._aggregation.units == 1


def test_meets_the_contract_of_layers(tmp_path: Path) -> None:
    layer = built(MaskBlock(6), INPUTS)
    # Two dense layers with bias, one without, and a normalisation.
    assert len(layer.trainable_weights) == 2 * 2 + 1 + 2
    assert_every_weight_learns(layer, INPUTS)
    assert_rows_do_not_mix(layer, INPUTS)
    assert_survives_saving(layer, INPUTS, tmp_path)
    assert_runs_in_mixed_precision(lambda: MaskBlock(6), INPUTS)


def test_a_ratio_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="reduction_ratio must be positive.*reduction_ratio=0"):
        MaskBlock(6, 0)


def test_configuration_makes_the_same_layer_again() -> None:
    layer = MaskBlock(6, 1.5, name="first")
    again = MaskBlock.from_config(layer.get_config())
    assert (again.units, again.reduction_ratio, again.name) == (6, 1.5, "first")
