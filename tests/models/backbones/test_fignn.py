from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.fignn import FeatureInteractionGraphNetwork
from tests.models.backbones.inputs import assert_logits_follow
from tests.models.builders import sigmoid
from tests.models.numpy_layers import dense, numpy_fields, numpy_linear, numpy_top


def numpy_logit(
    layer: FeatureInteractionGraphNetwork, inputs: BackboneInputs, row: int, user: int
) -> float:
    """Graph and self-attention are those of the layers, which have tests of their own."""
    fields = numpy_fields(layer._fields, inputs, row, user).astype(np.float32)[np.newaxis]
    joined = np.concatenate([fields.reshape(-1), inputs.numeric[row]])
    nodes = layer._attention(fields) if layer.attention_heads else fields
    states = layer._graph(nodes)[0].numpy().astype(np.float64)
    kernel, bias = dense(layer._vote_weights)
    weights = sigmoid(states.reshape(-1) @ kernel + bias)
    logit = numpy_linear(layer._linear, joined)
    for weight, state in zip(weights, states, strict=True):
        logit += weight * numpy_linear(layer._vote, state)
    if layer.deep_part:
        logit += numpy_linear(layer._logit, numpy_top(layer._deep, joined))
    return logit


@pytest.mark.parametrize("sources", [0, 2])
@pytest.mark.parametrize(
    "options",
    [{}, {"num_steps": 1, "deep_part": True}, {"attention_heads": 2, "residual": False}],
    ids=str,
)
def test_logits_follow_the_formula(sources: int, options: dict[str, Any]) -> None:
    layer = FeatureInteractionGraphNetwork((7, 4), **options)
    assert_logits_follow(numpy_logit, layer, sources)


def test_the_graph_has_the_options() -> None:
    layer = FeatureInteractionGraphNetwork(num_steps=3, residual=False)
    assert (layer._graph.num_steps, layer._graph.residual) == (3, False)
