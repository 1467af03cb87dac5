from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.deepfm import DeepFactorizationMachine
from tests.models.backbones.inputs import backbone_inputs, used
from tests.models.numpy_fields import numpy_fields, numpy_linear, numpy_top


def numpy_logit(
    layer: DeepFactorizationMachine, inputs: BackboneInputs, row: int, user: int
) -> float:
    fields = numpy_fields(layer._fields, inputs, row, user)
    joined = np.concatenate([fields.reshape(-1), inputs.numeric[row]])
    second_order = sum(float(left @ right) for left, right in combinations(fields, 2))
    deep = numpy_linear(layer._logit, numpy_top(layer._deep, joined))
    return numpy_linear(layer._linear, joined) + second_order + deep


@pytest.mark.parametrize("users", [1, 4])
@pytest.mark.parametrize("sources", [0, 2])
def test_logits_follow_the_formula(users: int, sources: int) -> None:
    inputs = backbone_inputs(users=users, sources=sources)
    layer = used(DeepFactorizationMachine((7, 4)), inputs)
    expected = [[numpy_logit(layer, inputs, row, row % users)] for row in range(4)]
    np.testing.assert_allclose(layer(inputs), expected, atol=1e-5)
    assert np.ptp(expected) > 1e-2
