from __future__ import annotations

import numpy as np
import pytest

from models.rerankers.base import CandidateFeatures
from tests.models.numpy_lists import numpy_features
from tests.models.rerankers.inputs import list_inputs, list_of, used, with_other_padding


@pytest.mark.parametrize("sources", [0, 2])
def test_features_follow_the_formula(sources: int) -> None:
    inputs = list_inputs(sources=sources)
    layer = used(CandidateFeatures(), inputs)
    features = layer(inputs).numpy()
    # Interest and candidate of two fields each, four numbers, side fields.
    assert features.shape == (4, 5, 3 * (2 + 2 + sources) + 4)
    for index in range(4):
        real = inputs.candidate_mask[index].numpy()
        np.testing.assert_allclose(
            features[index][real], numpy_features(layer, inputs, index), atol=1e-5
        )


def test_a_batch_of_1_and_padding() -> None:
    inputs = list_inputs()
    layer = used(CandidateFeatures(), inputs)
    expected, other = layer(inputs), layer(with_other_padding(inputs))
    for index in range(4):
        np.testing.assert_allclose(layer(list_of(inputs, index))[0], expected[index], atol=1e-5)
        real = inputs.candidate_mask[index].numpy()
        np.testing.assert_allclose(other[index][real], expected[index][real], atol=1e-5)
