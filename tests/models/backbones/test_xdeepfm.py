from __future__ import annotations

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.xdeepfm import ExtremeDeepFactorizationMachine
from tests.models.backbones.inputs import assert_logits_follow
from tests.models.builders import named_weights
from tests.models.numpy_layers import numpy_fields, numpy_linear, numpy_top


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


@pytest.mark.parametrize(("sources", "units"), [(0, (3, 2)), (2, (3, 2)), (2, (4,))])
def test_logits_follow_the_formula(sources: int, units: tuple[int, ...]) -> None:
    layer = ExtremeDeepFactorizationMachine((7, 4), interaction_units=units)
    assert_logits_follow(numpy_logit, layer, sources, rtol=1e-4)
