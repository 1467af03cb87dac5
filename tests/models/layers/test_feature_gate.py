from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from models.layers.gates import FeatureGate
from tests.models.builders import sigmoid
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)
from tests.models.numpy_attention import dense
from tests.models.numpy_fields import numpy_top

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=[5, 4]).astype(np.float32)
CONTEXTS = RANDOM.normal(size=[5, 3]).astype(np.float32)
INPUTS = (FEATURES, CONTEXTS)


@pytest.mark.parametrize("hidden_units", [(), (6,), (6, 5)])
def test_outputs_follow_the_formula(hidden_units: Sequence[int]) -> None:
    layer = built(FeatureGate(hidden_units), INPUTS)
    kernel, bias = dense(layer._importance)
    expected = []
    for features, context in zip(FEATURES, CONTEXTS, strict=True):
        gate = numpy_top(layer._hidden, context) @ kernel + bias
        expected.append([2 * sigmoid(gate[i]) * features[i] for i in range(4)])
    np.testing.assert_allclose(layer(INPUTS), expected, atol=1e-5)


def test_a_shared_context_equals_repeated_contexts() -> None:
    layer = built(FeatureGate((6,)), INPUTS)
    repeated = (FEATURES, np.repeat(CONTEXTS[:1], 5, axis=0))
    np.testing.assert_allclose(layer((FEATURES, CONTEXTS[:1])), layer(repeated), atol=1e-6)


def test_an_undecided_gate_changes_nothing() -> None:
    layer = FeatureGate((6,))
    layer(INPUTS)
    layer._importance.set_weights([np.zeros([6, 4]), np.zeros(4)])
    np.testing.assert_allclose(layer(INPUTS), FEATURES, atol=1e-6)


def test_meets_the_contract_of_layers(tmp_path: Path) -> None:
    layer = built(FeatureGate((6,)), INPUTS)
    assert_every_weight_learns(layer, INPUTS)
    assert_rows_do_not_mix(layer, INPUTS)
    assert_survives_saving(layer, INPUTS, tmp_path)
    assert_runs_in_mixed_precision(lambda: FeatureGate((6,)), INPUTS)


def test_configuration_makes_the_same_layer_again() -> None:
    layer = FeatureGate((6, 5), name="gate")
    again = FeatureGate.from_config(layer.get_config())
    assert (again.hidden_units, again.name) == ((6, 5), "gate")
