"""SLAttention in NumPy, pair by pair, from the weights of a built layer."""

from __future__ import annotations

import numpy as np

from models.layers.set_attention import SetToListAttention
from tests.models.builders import softmax


def numpy_set_to_list(
    layer: SetToListAttention,
    members: np.ndarray,
    steps: np.ndarray,
    features: np.ndarray,
    decay: np.ndarray,
) -> np.ndarray:
    """One set and one list, all of them real.

    Args:
      layer: the built layer, whose weights are read.
      members: [L, width].
      steps: [T, list width].
      features: [L, T].
      decay: [L, T].

    Returns:
      [L, width + list width].
    """
    to_steps, to_members, for_steps = (
        kernel.numpy().astype(np.float64)
        for kernel in (layer._affinity, layer._between_candidates, layer._to_steps)
    )
    size, length = features.shape
    root = np.sqrt(members.shape[1])
    affinity = np.zeros([size, length])
    between, history = np.zeros([size, size]), np.zeros([size, length])
    for i in range(size):
        for j in range(length):
            item_level = members[i] @ to_steps @ steps[j] / root
            affinity[i, j] = np.tanh((item_level + features[i, j]) * decay[i, j])
            history[i, j] = members[i] @ for_steps @ steps[j] / root
        for k in range(size):
            between[i, k] = members[i] @ to_members @ members[k] / root
    outputs = []
    for i in range(size):
        of_set, of_list = np.zeros(members.shape[1]), np.zeros(steps.shape[1])
        scores = [
            np.tanh(
                between[i, k]
                + sum(history[i, j] * affinity[k, j] for j in range(length)) / max(length, 1)
            )
            for k in range(size)
        ]
        for weight, member in zip(softmax(np.array(scores)), members, strict=True):
            of_set += weight * member
        if length:
            scores = [
                np.tanh(
                    history[i, j] + sum(between[i, k] * affinity[k, j] for k in range(size)) / size
                )
                for j in range(length)
            ]
            for weight, step in zip(softmax(np.array(scores)), steps, strict=True):
                of_list += weight * step
        outputs.append(np.concatenate([of_set, of_list]))
    return np.reshape(outputs, [size, members.shape[1] + steps.shape[1]])
