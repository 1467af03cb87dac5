from __future__ import annotations

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.dcnv2 import DeepCrossNetworkV2
from tests.models.backbones.inputs import assert_logits_follow
from tests.models.builders import relu
from tests.models.numpy_layers import dense, numpy_attention


def numpy_logit(layer: DeepCrossNetworkV2, inputs: BackboneInputs, row: int, user: int) -> float:
    candidate = inputs.candidate[row].numpy().reshape(-1)
    interest = numpy_attention(
        layer._attention, candidate, inputs.history[user].numpy(), inputs.history_mask[user].numpy()
    )
    first = np.concatenate(
        [interest, candidate, inputs.numeric[row], inputs.side_fields[row].numpy().reshape(-1)]
    )
    crossed = first
    for cross in layer._crosses:
        kernel, bias = dense(cross)
        crossed = first * (crossed @ kernel + bias) + crossed
    deep = first
    for hidden_layer in (layer._deep.layers[0], layer._deep.layers[2]):
        kernel, bias = dense(hidden_layer)
        deep = relu(deep @ kernel + bias)
    kernel, bias = dense(layer._logit)
    return float((np.concatenate([crossed, deep]) @ kernel + bias)[0])


@pytest.mark.parametrize(("sources", "crosses"), [(0, 3), (2, 3), (2, 1)])
def test_logits_follow_the_formula(sources: int, crosses: int) -> None:
    layer = DeepCrossNetworkV2((7, 4), num_crosses=crosses)
    assert_logits_follow(numpy_logit, layer, sources, rtol=1e-5)
