from __future__ import annotations

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.dcnv2 import DeepCrossNetworkV2
from tests.models.backbones.inputs import assert_logits_follow
from tests.models.numpy_layers import dense, numpy_attention_joined, numpy_linear, numpy_top


def numpy_logit(layer: DeepCrossNetworkV2, inputs: BackboneInputs, row: int, user: int) -> float:
    first = numpy_attention_joined(layer, inputs, row, user)
    crossed = first
    for cross in layer._crosses:
        kernel, bias = dense(cross)
        crossed = first * (crossed @ kernel + bias) + crossed
    deep = numpy_top(layer._deep, first)
    return numpy_linear(layer._logit, np.concatenate([crossed, deep]))


@pytest.mark.parametrize(("sources", "crosses"), [(0, 3), (2, 3), (2, 1)])
def test_logits_follow_the_formula(sources: int, crosses: int) -> None:
    layer = DeepCrossNetworkV2((7, 4), num_crosses=crosses)
    assert_logits_follow(numpy_logit, layer, sources, rtol=1e-5)
