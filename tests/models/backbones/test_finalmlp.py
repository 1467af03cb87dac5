from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.finalmlp import FinalMLP
from tests.models.backbones.inputs import assert_logits_follow
from tests.models.builders import sigmoid
from tests.models.numpy_layers import dense, numpy_fields, numpy_linear, numpy_top


def numpy_logit(layer: FinalMLP, inputs: BackboneInputs, row: int, user: int) -> float:
    fields = numpy_fields(layer._fields, inputs, row, user)
    numbers = inputs.numeric[row].numpy().astype(np.float64)
    joined = np.concatenate([fields.reshape(-1), numbers])
    views = [joined, joined]
    if layer.gating != "none":
        contexts = [fields[0], inputs.candidate[row].numpy().reshape(-1)]
        if layer.gating == "learned":
            contexts = [context.numpy()[0] for context in layer._contexts]
        for stream, (gate, context) in enumerate(zip(layer._gates, contexts, strict=True)):
            kernel, bias = dense(gate._importance)
            importance = sigmoid(numpy_top(gate._hidden, context) @ kernel + bias)
            views[stream] = 2 * importance * joined
    first, second = (
        numpy_top(stream, view) for stream, view in zip(layer._streams, views, strict=True)
    )
    logit = numpy_linear(layer._fusion._linear, np.concatenate([first, second]))
    kernel = layer._fusion._kernel.numpy()
    for left, matrix, right in zip(
        np.split(first, layer.num_heads), kernel, np.split(second, layer.num_heads), strict=True
    ):
        logit += left @ matrix @ right
    return logit + numpy_linear(layer._linear, numbers)


@pytest.mark.parametrize("sources", [0, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gating": "learned", "num_heads": 2},
        {"gating": "none", "second_top_units": (5, 6), "num_heads": 2},
        {"gate_units": ()},
    ],
    ids=str,
)
def test_logits_follow_the_formula(sources: int, options: dict[str, Any]) -> None:
    layer = FinalMLP((7, 4), **options)
    assert_logits_follow(numpy_logit, layer, sources, atol=2e-5, rtol=1e-5)


def test_an_unknown_gating_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\('context', 'learned', 'none'\).*gating='user'"):
        FinalMLP(gating="user")
