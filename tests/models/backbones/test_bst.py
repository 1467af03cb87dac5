from __future__ import annotations

from typing import Any

import pytest

from models.backbones.base import BackboneInputs
from models.backbones.bst import BehaviorSequenceTransformer
from tests.models.backbones.inputs import assert_logits_follow
from tests.models.numpy_layers import numpy_joined, numpy_linear, numpy_top, numpy_transformer


def numpy_logit(
    layer: BehaviorSequenceTransformer, inputs: BackboneInputs, row: int, user: int
) -> float:
    candidate = inputs.candidate[row].numpy().reshape(-1)
    read = numpy_transformer(
        layer._transformer,
        candidate,
        inputs.history[user].numpy(),
        inputs.history_mask[user].numpy(),
    )
    joined = numpy_joined(read, inputs, row)
    return numpy_linear(layer._logit, numpy_top(layer._top, joined))


@pytest.mark.parametrize("sources", [0, 2])
@pytest.mark.parametrize(
    "options",
    [{}, {"num_blocks": 2, "num_positions": 2}, {"outputs": "all", "num_positions": 4}],
    ids=str,
)
def test_logits_follow_the_formula(sources: int, options: dict[str, Any]) -> None:
    layer = BehaviorSequenceTransformer(
        (7, 4), units=6, num_heads=3, feed_forward_units=5, **options
    )
    assert_logits_follow(numpy_logit, layer, sources, atol=2e-5)


def test_the_transformer_has_the_options() -> None:
    options = {
        "units": 6,
        "num_blocks": 2,
        "num_heads": 3,
        "feed_forward_units": 5,
        "num_positions": 9,
        "outputs": "all",
        "dropout_rate": 0.1,
    }
    layer = BehaviorSequenceTransformer((7,), **options)
    assert options.items() <= layer.get_config().items()
    assert options.items() <= layer._transformer.get_config().items()
    assert BehaviorSequenceTransformer.from_config(layer.get_config()).get_config() == (
        layer.get_config()
    )
