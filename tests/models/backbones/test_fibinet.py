from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.fibinet import FeatureImportanceBilinearNetwork
from models.layers.gates import SqueezeExcitation
from models.layers.interaction import BilinearInteraction
from tests.models.backbones.inputs import WIDTH, assert_logits_follow, backbone_inputs, used
from tests.models.builders import relu, sigmoid
from tests.models.numpy_layers import numpy_fields, numpy_linear, numpy_top


def numpy_weighted(layer: SqueezeExcitation, fields: np.ndarray) -> np.ndarray:
    first, second = layer.get_weights()
    excited = relu(fields.mean(axis=1) @ first) @ second
    weights = relu(excited) if layer.activation == "relu" else sigmoid(excited)
    return weights[:, np.newaxis] * fields


def numpy_pairs(layer: BilinearInteraction, fields: np.ndarray) -> np.ndarray:
    pairs = []
    for i, j in combinations(range(len(fields)), 2):
        kernel = layer._kernels[0 if layer.kind == "field_all" else i].numpy()
        first = (j - i - 1) * WIDTH if layer.kind == "field_interaction" else 0
        pairs.append((fields[i] @ kernel[:, first : first + WIDTH]) * fields[j])
    return np.concatenate(pairs)


def numpy_logit(
    layer: FeatureImportanceBilinearNetwork, inputs: BackboneInputs, row: int, user: int
) -> float:
    fields, numeric = numpy_fields(layer._fields, inputs, row, user), inputs.numeric[row]
    plain = numpy_pairs(layer._plain_pairs, fields)
    weighted = numpy_pairs(layer._weighted_pairs, numpy_weighted(layer._importance, fields))
    deep = numpy_top(layer._deep, np.concatenate([plain, weighted, numeric]))
    linear = numpy_linear(layer._linear, np.concatenate([fields.reshape(-1), numeric]))
    return linear + numpy_linear(layer._logit, deep)


@pytest.mark.parametrize("sources", [0, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bilinear_kind": "field_each", "excitation_factor": 0.4},
        {"bilinear_kind": "field_interaction", "excitation_activation": "sigmoid"},
    ],
    ids=str,
)
def test_logits_follow_the_formula(sources: int, options: dict[str, Any]) -> None:
    layer = FeatureImportanceBilinearNetwork((7, 4), **options)
    assert_logits_follow(numpy_logit, layer, sources)


def test_the_weights_of_the_fields_enter_the_score() -> None:
    inputs = backbone_inputs()
    layer = used(FeatureImportanceBilinearNetwork((7, 4), excitation_activation="sigmoid"), inputs)
    before = layer(inputs)
    layer._importance.set_weights([3 * weight for weight in layer._importance.get_weights()])
    assert np.abs(layer(inputs) - before).max() > 1e-4


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="one of .*Received: bilinear_kind='all'"):
        FeatureImportanceBilinearNetwork(bilinear_kind="all")
