"""What the re-rankers share, in NumPy, from the weights of built layers; padding left out."""

from __future__ import annotations

import numpy as np

from models.rerankers.base import CandidateFeatures, ListInputs
from tests.models.numpy_attention import numpy_attention


def numpy_features(layer: CandidateFeatures, inputs: ListInputs, index: int) -> list[np.ndarray]:
    """x_i of the real candidates of one list, at inference."""
    history, mask = inputs.history[index].numpy(), inputs.history_mask[index].numpy()
    features = []
    for place in np.flatnonzero(inputs.candidate_mask[index]):
        candidate = inputs.candidate[index, place].numpy().reshape(-1)
        parts = [
            numpy_attention(layer._attention, candidate, history, mask),
            candidate,
            inputs.numeric[index, place].numpy(),
            inputs.side_fields[index, place].numpy().reshape(-1),
        ]
        features.append(np.concatenate(parts).astype(np.float64))
    return features


def assert_real_scores(scores: np.ndarray, expected: list[list[float]], inputs: ListInputs) -> None:
    """Scores [b, L] of real candidates equal those computed list by list."""
    for index, logits in enumerate(expected):
        real = inputs.candidate_mask[index].numpy()
        np.testing.assert_allclose(scores[index][real], logits, atol=1e-5)
    assert np.ptp(np.concatenate(expected)) > 1e-2
