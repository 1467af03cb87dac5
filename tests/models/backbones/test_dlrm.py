from __future__ import annotations

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.dlrm import DeepLearningRecommendationModel
from tests.models.backbones.inputs import WIDTH, assert_logits_follow
from tests.models.numpy_layers import numpy_fields, numpy_linear, numpy_top


def numpy_logit(
    layer: DeepLearningRecommendationModel, inputs: BackboneInputs, row: int, user: int
) -> float:
    numbers = inputs.numeric[row].numpy().astype(np.float64)
    numbers_field = numpy_top(layer._bottom, numbers)
    fields = [numbers_field, *numpy_fields(layer._fields, inputs, row, user)]
    # TensorFlow Recommenders gives the lower triangle row by row.
    products = [
        sum(fields[i][d] * fields[j][d] for d in range(WIDTH))
        for i in range(len(fields))
        for j in range(i + layer.self_interaction)
    ]
    top = numpy_top(layer._top, np.concatenate([numbers_field, products]))
    return numpy_linear(layer._logit, top) + numpy_linear(layer._linear, numbers)


@pytest.mark.parametrize(("sources", "self_interaction"), [(0, False), (2, False), (2, True)])
def test_logits_follow_the_formula(sources: int, self_interaction: bool) -> None:
    layer = DeepLearningRecommendationModel(
        (7, 4), bottom_units=(5,), self_interaction=self_interaction
    )
    assert_logits_follow(numpy_logit, layer, sources, rtol=1e-5)
