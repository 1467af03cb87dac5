from __future__ import annotations

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.xdeepfm import ExtremeDeepFactorizationMachine
from tests.models.backbones.inputs import backbone_inputs, used
from tests.models.builders import named_weights
from tests.models.numpy_fields import numpy_fields, numpy_linear, numpy_top


def numpy_interactions(layer: ExtremeDeepFactorizationMachine, fields: np.ndarray) -> np.ndarray:
    rows, pooled = fields, []
    for number, units in enumerate(layer.interaction_units):
        kernel = named_weights(layer._interactions)[f"layer_{number}_kernel"]
        kernel = kernel.reshape(len(rows), len(fields), units)
        rows = np.einsum("iju,id,jd->ud", kernel, rows, fields)
        pooled.append(rows.sum(axis=1))
    return np.concatenate(pooled)


def numpy_logit(
    layer: ExtremeDeepFactorizationMachine, inputs: BackboneInputs, row: int, user: int
) -> float:
    fields = numpy_fields(layer._fields, inputs, row, user)
    joined = np.concatenate([fields.reshape(-1), inputs.numeric[row]])
    nonlinear = np.concatenate([numpy_interactions(layer, fields), numpy_top(layer._deep, joined)])
    return numpy_linear(layer._linear, joined) + numpy_linear(layer._logit, nonlinear)


@pytest.mark.parametrize("users", [1, 4])
@pytest.mark.parametrize(("sources", "units"), [(0, (3, 2)), (2, (3, 2)), (2, (4,))])
def test_logits_follow_the_formula(users: int, sources: int, units: tuple[int, ...]) -> None:
    inputs = backbone_inputs(users=users, sources=sources)
    layer = used(ExtremeDeepFactorizationMachine((7, 4), interaction_units=units), inputs)
    expected = [[numpy_logit(layer, inputs, row, row % users)] for row in range(4)]
    np.testing.assert_allclose(layer(inputs), expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(expected) > 1e-2


def test_configuration_makes_the_same_layer_again() -> None:
    layer = ExtremeDeepFactorizationMachine((7,), 0.1, (5, 6))
    again = ExtremeDeepFactorizationMachine.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.interaction_units == (5, 6)
