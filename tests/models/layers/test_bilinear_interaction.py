from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from models.layers.interaction import BILINEAR_KINDS, BilinearInteraction
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)

NUM_FIELDS, WIDTH = 4, 3
FIELDS = np.random.default_rng(0).normal(size=[5, NUM_FIELDS, WIDTH]).astype(np.float32)
NUM_MATRICES = {"field_all": 1, "field_each": 3, "field_interaction": 6}


def bilinear(kind: str) -> BilinearInteraction:
    return built(BilinearInteraction(kind), FIELDS)


def matrix_of(layer: BilinearInteraction, i: int, j: int) -> np.ndarray:
    kernels = [kernel.numpy() for kernel in layer._kernels]
    if layer.kind == "field_all":
        return kernels[0]
    if layer.kind == "field_each":
        return kernels[i]
    position = j - i - 1
    return kernels[i][:, position * WIDTH : (position + 1) * WIDTH]


@pytest.mark.parametrize("kind", BILINEAR_KINDS)
class TestEveryKind:
    def test_pairs_follow_the_formula(self, kind: str) -> None:
        layer = bilinear(kind)
        expected = [
            [(row[i] @ matrix_of(layer, i, j)) * row[j] for i, j in combinations(range(4), 2)]
            for row in FIELDS
        ]
        output = layer(FIELDS)
        assert output.shape == (5, 6, WIDTH)
        np.testing.assert_allclose(output, expected, atol=1e-5)

    def test_matrices_are_shared_as_the_kind_says(self, kind: str) -> None:
        size = sum(weight.shape.num_elements() for weight in bilinear(kind).trainable_weights)
        assert size == NUM_MATRICES[kind] * WIDTH * WIDTH

    def test_every_matrix_starts_at_glorot_s_scale(self, kind: str) -> None:
        layer = BilinearInteraction(kind)
        layer(np.ones([1, 3, 60], np.float32))
        for kernel in layer.get_weights():
            assert np.abs(kernel).max() == pytest.approx(np.sqrt(6 / 120), rel=0.02)

    def test_rows_do_not_mix(self, kind: str) -> None:
        assert_rows_do_not_mix(bilinear(kind), FIELDS)

    def test_every_weight_learns(self, kind: str) -> None:
        assert_every_weight_learns(bilinear(kind), FIELDS)

    def test_survives_saving(self, kind: str, tmp_path: Path) -> None:
        assert_survives_saving(bilinear(kind), FIELDS, tmp_path)

    def test_runs_in_mixed_precision(self, kind: str) -> None:
        assert_runs_in_mixed_precision(lambda: BilinearInteraction(kind), FIELDS)

    def test_configuration_makes_the_same_layer_again(self, kind: str) -> None:
        assert BilinearInteraction.from_config(bilinear(kind).get_config()).kind == kind


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="one of .*Received: kind='each'"):
        BilinearInteraction("each")
