"""A block of MaskNet in NumPy, from the weights of a built layer."""

from __future__ import annotations

import numpy as np

from models.layers.gates import MaskBlock
from tests.models.builders import relu
from tests.models.numpy_attention import dense


def numpy_mask_block(layer: MaskBlock, instance: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """One sample: instance [instance width] and hidden [hidden width] -> [units]."""
    kernel, bias = dense(layer._aggregation)
    aggregated = relu(instance @ kernel + bias)
    kernel, bias = dense(layer._projection)
    masked = np.array(
        [
            (sum(aggregated[a] * kernel[a, i] for a in range(len(aggregated))) + bias[i]) * number
            for i, number in enumerate(hidden)
        ]
    )
    (kernel,) = layer._hidden.get_weights()
    transformed = masked @ kernel.astype(np.float64)
    gain, offset = layer._normalise.get_weights()
    mean, variance = transformed.mean(), transformed.var()
    return relu(gain * (transformed - mean) / np.sqrt(variance + 1e-5) + offset)
