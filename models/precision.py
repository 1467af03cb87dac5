"""The number format of layers' arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Layers made inside compute as a Keras policy says.

    Weights stay float32 under the mixed policies, and so do knowledge vectors, match and prior. A
    model keeps the policy that it was built with; one that is built again from a run folder, to be
    evaluated or exported, computes in float32.

    Args:
      policy: "float32", "mixed_bfloat16" or "mixed_float16".
    """
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
