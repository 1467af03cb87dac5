from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow_recommenders as tfrs

from models.layers.interaction import VectorCross
from tests.models.builders import named_weights
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)

COUNT, WIDTH = 4, 5


def inputs() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    first, crossed = (random.normal(size=[COUNT, WIDTH]).astype(np.float32) for _ in range(2))
    return first, crossed


def test_crosses_follow_the_formula() -> None:
    layer, (first, crossed) = built(VectorCross(), inputs()), inputs()
    parts = named_weights(layer)
    expected = np.zeros([COUNT, WIDTH])
    for row in range(COUNT):
        product = sum(crossed[row, i] * parts["kernel"][i, 0] for i in range(WIDTH))
        for column in range(WIDTH):
            expected[row, column] = (
                first[row, column] * product + parts["bias"][column] + crossed[row, column]
            )
    np.testing.assert_allclose(layer((first, crossed)), expected, atol=1e-5)


def test_it_is_a_matrix_cross_whose_columns_are_equal() -> None:
    layer, (first, crossed) = built(VectorCross(), inputs()), inputs()
    parts = named_weights(layer)
    matrix_cross = tfrs.layers.dcn.Cross(use_bias=False)
    matrix_cross(first, crossed)
    matrix_cross.set_weights([np.repeat(parts["kernel"], WIDTH, axis=1)])
    np.testing.assert_allclose(
        layer((first, crossed)), matrix_cross(first, crossed) + parts["bias"], atol=1e-5
    )


def test_rows_do_not_mix() -> None:
    assert_rows_do_not_mix(built(VectorCross(), inputs()), inputs())


def test_every_weight_learns() -> None:
    layer = built(VectorCross(), inputs())
    assert [weight.shape for weight in layer.trainable_weights] == [(WIDTH, 1), (WIDTH,)]
    assert_every_weight_learns(layer, inputs())


def test_survives_saving(tmp_path: Path) -> None:
    assert_survives_saving(built(VectorCross(), inputs()), inputs(), tmp_path)


def test_runs_in_mixed_precision() -> None:
    assert_runs_in_mixed_precision(VectorCross, inputs())
