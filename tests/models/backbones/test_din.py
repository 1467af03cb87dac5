from __future__ import annotations

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.din import DeepInterestNetwork
from tests.models.backbones.inputs import assert_logits_follow, backbone_inputs, row_of
from tests.models.numpy_layers import numpy_attention_joined, numpy_linear, numpy_top


def numpy_logit(layer: DeepInterestNetwork, inputs: BackboneInputs, row: int, user: int) -> float:
    joined = numpy_attention_joined(layer, inputs, row, user)
    return numpy_linear(layer._logit, numpy_top(layer._top, joined))


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("sources", [0, 2])
def test_logits_follow_the_formula(sources: int, softmax: bool) -> None:
    layer = DeepInterestNetwork((7, 4), attention_softmax=softmax)
    assert_logits_follow(numpy_logit, layer, sources)


def test_published_dice_depends_on_the_batch() -> None:
    layer, inputs = DeepInterestNetwork((7, 4), dice_statistics="batch"), backbone_inputs()
    together = layer(inputs)
    np.testing.assert_allclose(layer(inputs, training=True), together, atol=1e-6)
    assert not layer.non_trainable_weights
    alone = np.concatenate([layer(row_of(inputs, row)) for row in range(4)])
    assert np.abs(alone - together).max() > 1e-4
