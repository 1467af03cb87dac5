"""Sets for the tests of layers that attend between sets."""

from __future__ import annotations

import numpy as np

SETS, SIZE = 4, 5


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def set_mask() -> np.ndarray:
    """Sets of 5, 3, 1 and 0 members, padding in between."""
    return np.array(
        [[1, 1, 1, 1, 1], [0, 1, 1, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=bool
    )


def other_padding(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Other numbers where the mask is false."""
    mask = mask.reshape(*mask.shape, *[1] * (values.ndim - mask.ndim))
    return np.where(mask, values, 40).astype(np.float32)
