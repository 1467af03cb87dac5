from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.layers.interaction import BilinearFusion
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)
from tests.models.numpy_fields import numpy_linear

RANDOM = np.random.default_rng(0)
INPUTS = (
    RANDOM.normal(size=[5, 6]).astype(np.float32),
    RANDOM.normal(size=[5, 4]).astype(np.float32),
)


@pytest.mark.parametrize("heads", [1, 2])
def test_logits_follow_the_formula(heads: int) -> None:
    layer = built(BilinearFusion(heads), INPUTS)
    kernel = layer._kernel.numpy()
    assert kernel.shape == (heads, 6 // heads, 4 // heads)
    expected = []
    for first, second in zip(*INPUTS, strict=True):
        logit = numpy_linear(layer._linear, np.concatenate([first, second]))
        for head in range(heads):
            for i in range(6 // heads):
                for j in range(4 // heads):
                    left, right = first[head * 6 // heads + i], second[head * 4 // heads + j]
                    logit += left * kernel[head, i, j] * right
        expected.append([logit])
    np.testing.assert_allclose(layer(INPUTS), expected, atol=1e-5)


def test_products_start_at_the_scale_of_the_streams() -> None:
    layer = BilinearFusion(2)
    streams = np.random.default_rng(1).normal(size=[2, 2000, 80]).astype(np.float32)
    layer(tuple(streams))
    kernel, bias = layer._linear.get_weights()
    layer._linear.set_weights([0 * kernel, bias])
    assert 0.7 < np.std(layer(tuple(streams))) < 2


@pytest.mark.parametrize("heads", [0, 3, 4])
def test_heads_must_divide_both_widths(heads: int) -> None:
    with pytest.raises(ValueError, match=f"^num_heads must .*num_heads={heads}"):
        BilinearFusion(heads)(INPUTS)


def test_meets_the_contract_of_layers(tmp_path: Path) -> None:
    layer = built(BilinearFusion(2), INPUTS)
    assert_every_weight_learns(layer, INPUTS)
    assert_rows_do_not_mix(layer, INPUTS)
    assert_survives_saving(layer, INPUTS, tmp_path)
    assert_runs_in_mixed_precision(lambda: BilinearFusion(2), INPUTS)


def test_configuration_makes_the_same_layer_again() -> None:
    layer = BilinearFusion(4, name="fusion")
    again = BilinearFusion.from_config(layer.get_config())
    assert (again.num_heads, again.name) == (4, "fusion")
