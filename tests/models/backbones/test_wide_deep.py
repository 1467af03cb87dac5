from __future__ import annotations

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.wide_deep import WideDeep
from tests.models.backbones.inputs import assert_logits_follow
from tests.models.numpy_layers import numpy_fields, numpy_linear, numpy_top


def numpy_logit(layer: WideDeep, inputs: BackboneInputs, row: int, user: int) -> float:
    fields = numpy_fields(layer._fields, inputs, row, user)
    numbers = inputs.numeric[row].numpy().astype(np.float64)
    joined = np.concatenate([fields.reshape(-1), numbers])
    wide = list(joined)
    if layer.cross_products:
        wide += [
            fields[i] @ fields[j] for i in range(len(fields)) for j in range(i + 1, len(fields))
        ]
        wide += [
            numbers[i] * numbers[j] for i in range(len(numbers)) for j in range(i + 1, len(numbers))
        ]
    deep = numpy_top(layer._deep, joined)
    return numpy_linear(layer._wide, np.array(wide)) + numpy_linear(layer._logit, deep)


@pytest.mark.parametrize(("sources", "cross_products"), [(0, True), (2, True), (2, False)])
def test_logits_follow_the_formula(sources: int, cross_products: bool) -> None:
    layer = WideDeep((7, 4), cross_products=cross_products)
    assert_logits_follow(numpy_logit, layer, sources, rtol=1e-5)
