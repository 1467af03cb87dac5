from __future__ import annotations

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.dcn import DeepCrossNetwork
from tests.models.backbones.inputs import assert_logits_follow
from tests.models.builders import named_weights
from tests.models.numpy_layers import numpy_attention_joined, numpy_linear, numpy_top


def numpy_logit(layer: DeepCrossNetwork, inputs: BackboneInputs, row: int, user: int) -> float:
    first = numpy_attention_joined(layer, inputs, row, user)
    crossed = first
    for cross in layer._crosses:
        parts = named_weights(cross)
        crossed = first * float(crossed @ parts["kernel"][:, 0]) + parts["bias"] + crossed
    deep = numpy_top(layer._deep, first)
    return numpy_linear(layer._logit, np.concatenate([crossed, deep]))


@pytest.mark.parametrize(("sources", "crosses"), [(0, 3), (2, 3), (2, 1)])
def test_logits_follow_the_formula(sources: int, crosses: int) -> None:
    layer = DeepCrossNetwork((7, 4), num_crosses=crosses)
    assert_logits_follow(numpy_logit, layer, sources, rtol=1e-4)
