from __future__ import annotations

from pathlib import Path

import numpy as np

from models.layers.gates import ZeroStart
from tests.models.layers.contract import assert_every_weight_learns, assert_meets_the_contract

FIELDS = np.random.default_rng(0).normal(size=[5, 3, 4]).astype(np.float32)


def test_fields_are_zero_at_first_and_can_learn() -> None:
    layer = ZeroStart()
    np.testing.assert_array_equal(layer(FIELDS), np.zeros_like(FIELDS))
    assert [weight.shape for weight in layer.trainable_weights] == [(3,)]
    assert_every_weight_learns(layer, FIELDS)


def test_every_field_has_a_number_of_its_own() -> None:
    layer = ZeroStart()
    layer(FIELDS)
    layer.set_weights([np.array([2.0, 0.0, -1.0])])
    expected = np.stack([2 * FIELDS[:, 0], 0 * FIELDS[:, 1], -FIELDS[:, 2]], axis=1)
    np.testing.assert_allclose(layer(FIELDS), expected, atol=1e-6)
    np.testing.assert_allclose(layer(FIELDS[np.newaxis]), expected[np.newaxis], atol=1e-6)


def test_meets_the_contract_of_layers(tmp_path: Path) -> None:
    assert_meets_the_contract(ZeroStart, FIELDS, tmp_path)
