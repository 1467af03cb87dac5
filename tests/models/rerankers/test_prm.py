from __future__ import annotations

import numpy as np
import pytest

from models.rerankers.base import ListInputs
from models.rerankers.prm import PersonalizedReranking
from tests.models.numpy_layers import (
    assert_real_scores,
    dense,
    numpy_features,
    numpy_set_block,
    numpy_top,
)
from tests.models.rerankers.inputs import list_inputs, used


def numpy_logits(layer: PersonalizedReranking, inputs: ListInputs, index: int) -> list[float]:
    kernel, bias = dense(layer._projection)
    encoded = []
    for place, features in enumerate(numpy_features(layer._features, inputs, index)):
        joined = np.concatenate([features, numpy_top(layer._top, features)])
        vector = joined @ kernel + bias
        if layer.num_positions:
            vector = vector + layer._positions.numpy()[min(place, layer.num_positions - 1)]
        encoded.append(vector)
    for block in layer._blocks:
        encoded = numpy_set_block(block, encoded, encoded)
    kernel, bias = dense(layer._logit)
    return [float((vector @ kernel + bias)[0]) for vector in encoded]


@pytest.mark.parametrize("options", [{}, {"num_positions": 3}, {"num_blocks": 2}], ids=str)
def test_logits_follow_the_formula(options: dict[str, int]) -> None:
    inputs = list_inputs()
    layer = PersonalizedReranking((6, 5), units=4, num_heads=2, feed_forward_units=5, **options)
    used(layer, inputs)
    expected = [numpy_logits(layer, inputs, index) for index in range(4)]
    assert_real_scores(layer(inputs).numpy(), expected, inputs)
