from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.deepfm import DeepFactorizationMachine
from tests.models.backbones.inputs import assert_logits_follow
from tests.models.numpy_layers import numpy_fields, numpy_linear, numpy_top


def numpy_logit(
    layer: DeepFactorizationMachine, inputs: BackboneInputs, row: int, user: int
) -> float:
    fields = numpy_fields(layer._fields, inputs, row, user)
    joined = np.concatenate([fields.reshape(-1), inputs.numeric[row]])
    second_order = sum(float(left @ right) for left, right in combinations(fields, 2))
    deep = numpy_linear(layer._logit, numpy_top(layer._deep, joined))
    return numpy_linear(layer._linear, joined) + second_order + deep


@pytest.mark.parametrize("sources", [0, 2])
def test_logits_follow_the_formula(sources: int) -> None:
    layer = DeepFactorizationMachine((7, 4))
    assert_logits_follow(numpy_logit, layer, sources)
