from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.layers.interaction import CompressedInteractionNetwork
from tests.models.builders import named_weights
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)

COUNT, NUM_FIELDS, WIDTH = 3, 4, 5
FIELDS = np.random.default_rng(0).normal(size=[COUNT, NUM_FIELDS, WIDTH]).astype(np.float32)


def network(*units: int) -> CompressedInteractionNetwork:
    return built(CompressedInteractionNetwork(units), FIELDS)


def by_hand(layer: CompressedInteractionNetwork, fields: np.ndarray) -> list[float]:
    """Eq. (6) and (7), one product at a time."""
    kernels = named_weights(layer)
    rows, pooled = list(fields), []
    for number, units in enumerate(layer.units):
        kernel = kernels[f"layer_{number}_kernel"].reshape(len(rows), NUM_FIELDS, units)
        next_rows = []
        for unit in range(units):
            total = np.zeros(WIDTH)
            for i, row in enumerate(rows):
                for j, field in enumerate(fields):
                    total += kernel[i, j, unit] * row * field
            next_rows.append(total)
        rows = next_rows
        pooled += [float(row.sum()) for row in rows]
    return pooled


@pytest.mark.parametrize("units", [(3,), (3, 2), (2, 4, 1)])
def test_output_follows_the_formula(units: tuple[int, ...]) -> None:
    layer = network(*units)
    output = layer(FIELDS)
    assert output.shape == (COUNT, sum(units))
    np.testing.assert_allclose(
        output, [by_hand(layer, row) for row in FIELDS], rtol=1e-4, atol=1e-5
    )


def test_a_layer_is_one_order_above_the_last() -> None:
    layer = network(2, 2, 2)
    once, twice = layer(FIELDS).numpy(), layer(2 * FIELDS).numpy()
    np.testing.assert_allclose(twice, once * [4, 4, 8, 8, 16, 16], rtol=1e-4)


def test_rows_do_not_mix() -> None:
    assert_rows_do_not_mix(network(3, 2), FIELDS)


def test_every_weight_learns() -> None:
    layer = network(3, 2)
    assert [weight.shape for weight in layer.trainable_weights] == [(16, 3), (12, 2)]
    assert_every_weight_learns(layer, FIELDS)


def test_survives_saving(tmp_path: Path) -> None:
    assert_survives_saving(network(3, 2), FIELDS, tmp_path)


def test_runs_in_mixed_precision() -> None:
    assert_runs_in_mixed_precision(
        lambda: CompressedInteractionNetwork((3, 2)), FIELDS / 2, tolerance=0.05
    )


def test_configuration_makes_the_same_layer_again() -> None:
    again = CompressedInteractionNetwork.from_config(network(3, 2).get_config())
    assert again.units == (3, 2)
