from __future__ import annotations

from pathlib import Path

import numpy as np

from models.layers.set_attention import FeatureAffinity
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)
from tests.models.layers.sets import SETS, SIZE, normal

STEPS, SET_FIELDS, LIST_FIELDS, WIDTH = 4, 3, 2, 5


def inputs() -> tuple[np.ndarray, np.ndarray]:
    return normal(SETS, SIZE, SET_FIELDS, WIDTH), normal(SETS, STEPS, LIST_FIELDS, WIDTH, seed=1)


def test_outputs_follow_the_formula() -> None:
    layer, (of_set, of_list) = built(FeatureAffinity(), inputs()), inputs()
    kernel, pairs, bias = (weight.astype(np.float64) for weight in layer.get_weights())
    expected = np.zeros([SETS, SIZE, STEPS])
    for row, i, j in np.ndindex(SETS, SIZE, STEPS):
        expected[row, i, j] = bias + sum(
            pairs[p, q] * (of_set[row, i, p] @ kernel @ of_list[row, j, q])
            for p, q in np.ndindex(SET_FIELDS, LIST_FIELDS)
        )
    np.testing.assert_allclose(layer(inputs()), expected, atol=1e-4)


def test_empty_sets_and_lists() -> None:
    layer, (of_set, of_list) = built(FeatureAffinity(), inputs()), inputs()
    assert layer((of_set, of_list[:, :0])).shape == (SETS, SIZE, 0)
    assert layer((of_set[:, :0], of_list)).shape == (SETS, 0, STEPS)


def test_contract(tmp_path: Path) -> None:
    layer = built(FeatureAffinity(), inputs())
    assert len(layer.trainable_weights) == 3
    assert_every_weight_learns(layer, inputs())
    assert_rows_do_not_mix(layer, inputs())
    assert_survives_saving(layer, inputs(), tmp_path)
    assert_runs_in_mixed_precision(FeatureAffinity, inputs(), tolerance=0.2)
