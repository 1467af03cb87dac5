from __future__ import annotations

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.dlrm import DeepLearningRecommendationModel
from tests.models.backbones.inputs import WIDTH, backbone_inputs
from tests.models.builders import randomise
from tests.models.numpy_fields import numpy_fields, numpy_linear, numpy_top


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


@pytest.mark.parametrize("users", [1, 4])
@pytest.mark.parametrize(("sources", "self_interaction"), [(0, False), (2, False), (2, True)])
def test_logits_follow_the_formula(users: int, sources: int, self_interaction: bool) -> None:
    layer = DeepLearningRecommendationModel(
        (7, 4), bottom_units=(5,), self_interaction=self_interaction
    )
    inputs = backbone_inputs(users=users, sources=sources)
    layer(inputs)
    randomise(layer.trainable_weights, seed=3)
    layer(inputs, training=True)
    expected = [[numpy_logit(layer, inputs, row, row % users)] for row in range(4)]
    np.testing.assert_allclose(layer(inputs), expected, atol=1e-5, rtol=1e-5)
    assert np.ptp(expected) > 1e-2


def test_configuration_has_the_options() -> None:
    layer = DeepLearningRecommendationModel(bottom_units=(9, 8), self_interaction=True)
    again = DeepLearningRecommendationModel.from_config(layer.get_config())
    assert (again.bottom_units, again.self_interaction) == ((9, 8), True)
