from __future__ import annotations

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.pnn import ProductNetwork
from tests.models.backbones.inputs import WIDTH, assert_logits_follow
from tests.models.numpy_layers import numpy_fields, numpy_linear, numpy_top


def numpy_logit(layer: ProductNetwork, inputs: BackboneInputs, row: int, user: int) -> float:
    fields = numpy_fields(layer._fields, inputs, row, user)
    numbers = inputs.numeric[row].numpy().astype(np.float64)
    signals = [*fields.reshape(-1), *numbers]
    if layer.product in ("inner", "both"):
        signals += [
            fields[i] @ fields[j] for i in range(len(fields)) for j in range(i + 1, len(fields))
        ]
    if layer.product in ("outer", "both"):
        outer = sum(np.outer(left, right) for left in fields for right in fields)
        signals += list(outer[np.triu_indices(WIDTH)])
    top = numpy_top(layer._top, np.array(signals))
    return numpy_linear(layer._logit, top) + numpy_linear(layer._linear, numbers)


@pytest.mark.parametrize("sources", [0, 2])
@pytest.mark.parametrize("product", ["inner", "outer", "both"])
def test_logits_follow_the_formula(sources: int, product: str) -> None:
    layer = ProductNetwork((7, 4), product=product)
    assert_logits_follow(numpy_logit, layer, sources, rtol=1e-5)


def test_an_unknown_product_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one of \('inner', 'outer', 'both'\).*product='cross'"):
        ProductNetwork(product="cross")
