from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.layers.normalization import FieldNormalization
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)

FIELDS = np.random.default_rng(0).normal(size=[5, 4, 3], loc=2, scale=3).astype(np.float32)


@pytest.mark.parametrize("epsilon", [1e-5, 0.5])
def test_every_field_is_normalised_by_itself(epsilon: float) -> None:
    layer = built(FieldNormalization(epsilon), FIELDS)
    gain, bias = layer._gain.numpy(), layer._bias.numpy()
    output = layer(FIELDS)
    for row in range(5):
        for field in range(4):
            numbers = FIELDS[row, field].astype(np.float64)
            mean = sum(numbers) / 3
            variance = sum((number - mean) ** 2 for number in numbers) / 3
            expected = gain[field] * (numbers - mean) / np.sqrt(variance + epsilon) + bias[field]
            np.testing.assert_allclose(output[row, field], expected, atol=1e-5)


def test_it_starts_as_plain_normalisation() -> None:
    output = FieldNormalization()(FIELDS).numpy()
    np.testing.assert_allclose(output.mean(axis=2), np.zeros([5, 4]), atol=1e-5)
    np.testing.assert_allclose(output.std(axis=2), np.ones([5, 4]), atol=1e-3)


def test_a_field_of_zeros_gives_the_bias() -> None:
    layer = built(FieldNormalization(), FIELDS)
    np.testing.assert_array_equal(layer(np.zeros([1, 4, 3], np.float32))[0], layer._bias)


def test_meets_the_contract_of_layers(tmp_path: Path) -> None:
    layer = built(FieldNormalization(), FIELDS)
    assert_every_weight_learns(layer, FIELDS)
    assert_rows_do_not_mix(layer, FIELDS)
    assert_survives_saving(layer, FIELDS, tmp_path)
    assert_runs_in_mixed_precision(FieldNormalization, FIELDS)


def test_configuration_makes_the_same_layer_again() -> None:
    layer = FieldNormalization(1e-3, name="normalised")
    again = FieldNormalization.from_config(layer.get_config())
    assert (again.epsilon, again.name) == (1e-3, "normalised")
