from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.backbones.autoint import AutomaticFeatureInteraction
from models.backbones.base import BackboneInputs
from models.layers.attention import FieldSelfAttention
from tests.models.backbones.inputs import assert_logits_follow
from tests.models.builders import named_weights, relu, softmax
from tests.models.numpy_layers import numpy_fields, numpy_linear, numpy_top


def numpy_attended(layer: FieldSelfAttention, fields: np.ndarray) -> np.ndarray:
    parts = np.split(fields @ named_weights(layer)["kernel"], 4 if layer.residual else 3, axis=1)
    by_head = [np.split(part, layer.num_heads, axis=1) for part in parts[:3]]
    scale = np.sqrt(layer.head_units) if layer.scaled else 1.0
    heads = [
        softmax(query @ key.T / scale) @ value for query, key, value in zip(*by_head, strict=True)
    ]
    joined = np.concatenate(heads, axis=1)
    return relu(joined + parts[3] if layer.residual else joined)


def numpy_logit(
    layer: AutomaticFeatureInteraction, inputs: BackboneInputs, row: int, user: int
) -> float:
    fields = numpy_fields(layer._fields, inputs, row, user)
    joined = np.concatenate([fields.reshape(-1), inputs.numeric[row]])
    attended = fields
    for attention in layer._attentions:
        attended = numpy_attended(attention, attended)
    nonlinear = attended.reshape(-1)
    if layer.deep_part:
        nonlinear = np.concatenate([nonlinear, numpy_top(layer._deep, joined)])
    return numpy_linear(layer._linear, joined) + numpy_linear(layer._logit, nonlinear)


@pytest.mark.parametrize("sources", [0, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_heads": 2, "deep_part": True},
        {"num_layers": 1, "scaled": False, "residual": False},
    ],
    ids=str,
)
def test_logits_follow_the_formula(sources: int, options: dict[str, Any]) -> None:
    layer = AutomaticFeatureInteraction((7, 4), head_units=5, **options)
    assert_logits_follow(numpy_logit, layer, sources)


def test_the_defaults_are_the_published_settings() -> None:
    layer = AutomaticFeatureInteraction()
    assert (layer.num_layers, layer.num_heads, layer.head_units) == (3, 1, 64)
    assert (layer.scaled, layer.residual, layer.deep_part) == (True, True, False)
