"""Fixed random vectors, which tell entities apart and know nothing: a control for knowledge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from preprocessing.hashing import mixed, stable_hashes, unit_interval
from preprocessing.knowledge.vectors import NUMBER

_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_HALF_STEP = 2.0**-54


def random_vectors(entity_ids: Sequence[str], dimension: int, seed: int) -> np.ndarray:
    """Standard normal vectors, each a function of the seed and its own id.

    The hash of an id seeds SplitMix64, whose outputs become normal numbers by the inverse of the
    normal distribution. So more entities, or others, change no vector.

    Args:
      entity_ids: ids of items or users.
      dimension: numbers of a vector.
      seed: other seeds give other vectors.

    Returns:
      [entities, dimension] float16.
    """
    start = stable_hashes(entity_ids, f"random {seed}")[:, np.newaxis]
    steps = np.arange(dimension, dtype=np.uint64) * _GOLDEN_GAMMA
    return ndtri(unit_interval(mixed(start + steps)) + _HALF_STEP).astype(NUMBER)
