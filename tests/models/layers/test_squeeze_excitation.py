from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.layers.gates import SqueezeExcitation
from tests.models.builders import relu, sigmoid
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)

NUM_FIELDS = 4
FIELDS = np.random.default_rng(0).normal(size=[6, NUM_FIELDS, 5]).astype(np.float32)


@pytest.mark.parametrize(("factor", "hidden"), [(2.0, 8), (0.5, 2), (0.1, 1)])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_weights_follow_the_formula(factor: float, hidden: int, activation: str) -> None:
    layer = built(SqueezeExcitation(factor, activation), FIELDS, seed=3)
    first, second = layer.get_weights()
    assert (first.shape, second.shape) == ((NUM_FIELDS, hidden), (hidden, NUM_FIELDS))
    for row, weighted in zip(FIELDS, layer(FIELDS).numpy(), strict=True):
        squeezed = np.array([sum(field) / len(field) for field in row])
        excited = relu(squeezed @ first) @ second
        weights = relu(excited) if activation == "relu" else sigmoid(excited)
        for index in range(NUM_FIELDS):
            np.testing.assert_allclose(weighted[index], weights[index] * row[index], atol=1e-6)


def test_rows_do_not_mix() -> None:
    assert_rows_do_not_mix(built(SqueezeExcitation(), FIELDS), FIELDS)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_every_weight_learns(activation: str) -> None:
    layer = built(SqueezeExcitation(activation=activation), FIELDS)
    assert len(layer.trainable_weights) == 2
    assert_every_weight_learns(layer, FIELDS)


def test_survives_saving(tmp_path: Path) -> None:
    assert_survives_saving(built(SqueezeExcitation(), FIELDS), FIELDS, tmp_path)


def test_runs_in_mixed_precision() -> None:
    assert_runs_in_mixed_precision(SqueezeExcitation, FIELDS)


def test_configuration_makes_the_same_layer_again() -> None:
    again = SqueezeExcitation.from_config(SqueezeExcitation(0.5, "sigmoid").get_config())
    assert (again.factor, again.activation) == (0.5, "sigmoid")


@pytest.mark.parametrize("options", [{"factor": 0.0}, {"activation": "softmax"}], ids=str)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    ((option, value),) = options.items()
    with pytest.raises(ValueError, match=f"^{option} must .*Received: {option}={value!r}"):
        SqueezeExcitation(**options)
