from __future__ import annotations

import numpy as np
import pytest

from models.layers.set_attention import InducedSetAttention
from models.rerankers.base import ListInputs
from models.rerankers.setrank import SetRank
from tests.models.numpy_layers import (
    assert_real_scores,
    dense,
    numpy_features,
    numpy_induced,
    numpy_set_block,
    numpy_top,
)
from tests.models.rerankers.inputs import list_inputs, used


def numpy_logits(layer: SetRank, inputs: ListInputs, index: int) -> list[float]:
    kernel, bias = dense(layer._projection)
    encoded: list[np.ndarray] = [
        numpy_top(layer._top, features) @ kernel + bias
        for features in numpy_features(layer._features, inputs, index)
    ]
    for block in layer._blocks:
        if isinstance(block, InducedSetAttention):
            encoded = numpy_induced(block, encoded)
        else:
            encoded = numpy_set_block(block, encoded, encoded)
    kernel, bias = dense(layer._logit)
    return [float((vector @ kernel + bias)[0]) for vector in encoded]


@pytest.mark.parametrize("attention", ["induced", "full"])
@pytest.mark.parametrize("blocks", [1, 2])
def test_logits_follow_the_formula(attention: str, blocks: int) -> None:
    inputs = list_inputs()
    layer = SetRank(
        (6, 5),
        attention=attention,
        units=4,
        num_blocks=blocks,
        num_heads=2,
        feed_forward_units=5,
        num_points=3,
    )
    used(layer, inputs)
    assert isinstance(layer._blocks[0], InducedSetAttention) == (attention == "induced")
    expected = [numpy_logits(layer, inputs, index) for index in range(4)]
    assert_real_scores(layer(inputs).numpy(), expected, inputs)


def test_the_attention_must_be_known() -> None:
    with pytest.raises(ValueError, match="one of .*induced.*attention='sparse'"):
        SetRank(attention="sparse")
