from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.layers.attention import FieldSelfAttention
from tests.models.builders import named_weights, relu, softmax
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)

COUNT, NUM_FIELDS, WIDTH = 3, 4, 5
FIELDS = np.random.default_rng(0).normal(size=[COUNT, NUM_FIELDS, WIDTH]).astype(np.float32)


def attention(**options: Any) -> FieldSelfAttention:
    return built(FieldSelfAttention(**({"num_heads": 2, "head_units": 3} | options)), FIELDS)


def by_hand(layer: FieldSelfAttention, fields: np.ndarray) -> np.ndarray:
    """Eq. (5) to (8), one head and field at a time."""
    units = layer.num_heads * layer.head_units
    kernel = named_weights(layer)["kernel"]
    queries, keys, values = (kernel[:, i * units : (i + 1) * units] for i in range(3))
    output = np.zeros([NUM_FIELDS, units])
    for head in range(layer.num_heads):
        part = slice(head * layer.head_units, (head + 1) * layer.head_units)
        for m in range(NUM_FIELDS):
            query = fields[m] @ queries[:, part]
            products = np.array([query @ (field @ keys[:, part]) for field in fields])
            if layer.scaled:
                products /= np.sqrt(layer.head_units)
            for weight, field in zip(softmax(products), fields, strict=True):
                output[m, part] += weight * (field @ values[:, part])
    if layer.residual:
        output += fields @ kernel[:, 3 * units :]
    return relu(output)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_output_follows_the_formula(heads: int, scaled: bool, residual: bool) -> None:
    layer = attention(num_heads=heads, scaled=scaled, residual=residual)
    output = layer(FIELDS)
    assert output.shape == (COUNT, NUM_FIELDS, heads * 3)
    assert np.mean(output == 0) < 0.9
    np.testing.assert_allclose(output, [by_hand(layer, row) for row in FIELDS], atol=1e-5)


def test_fields_have_no_order() -> None:
    layer, order = attention(), [2, 0, 3, 1]
    np.testing.assert_allclose(layer(FIELDS[:, order]), layer(FIELDS).numpy()[:, order], atol=1e-6)


def test_every_projection_starts_at_glorot_s_scale() -> None:
    layer = FieldSelfAttention(num_heads=2, head_units=40)
    layer(np.ones([1, 2, 100], np.float32))
    for part in np.split(named_weights(layer)["kernel"], 4, axis=1):
        assert np.abs(part).max() == pytest.approx(np.sqrt(6 / 180), rel=0.02)


def test_dropout_acts_in_training_only() -> None:
    layer = attention(dropout_rate=0.5)
    np.testing.assert_array_equal(layer(FIELDS), layer(FIELDS, training=False))
    assert np.abs(layer(FIELDS, training=True) - layer(FIELDS)).max() > 1e-2


def test_rows_do_not_mix() -> None:
    assert_rows_do_not_mix(attention(), FIELDS)


@pytest.mark.parametrize("residual", [True, False])
def test_every_weight_learns(residual: bool) -> None:
    assert_every_weight_learns(attention(residual=residual), FIELDS)


def test_survives_saving(tmp_path: Path) -> None:
    assert_survives_saving(attention(), FIELDS, tmp_path)


def test_runs_in_mixed_precision() -> None:
    assert_runs_in_mixed_precision(lambda: FieldSelfAttention(2, 3), FIELDS)


def test_configuration_makes_the_same_layer_again() -> None:
    layer = attention(scaled=False, residual=False, dropout_rate=0.25)
    again = FieldSelfAttention.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.num_heads, again.head_units, again.dropout_rate) == (2, 3, 0.25)
    assert (again.scaled, again.residual) == (False, False)
