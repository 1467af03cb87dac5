"""Full precision for TFRS layers, which take the global policy and offer no argument for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf


@contextmanager
def full_precision() -> Iterator[None]:
    """Layers made or called inside compute in float32, also where training is mixed.

    Scores of a search are close to each other, and bfloat16 has three digits.
    """
    policy = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("float32")
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)
