"""Parameters of a kernel: positive numbers, fixed or trained."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

_LEAST, _MOST = 1e-3, 1e3


class PositiveParameter:
    """A positive number (or several) that a layer uses, trained through its logarithm or fixed.

    Trained values stay between 0.001 and 1000, where the linear algebra is safe.
    """

    def __init__(
        self, layer: tf.keras.layers.Layer, name: str, value: float | Sequence[float], learned: bool
    ):
        """Gives the layer a trained weight `log_<name>` if it is learned."""
        self._constant = value
        self._logarithm = None
        if learned:
            initial = tf.math.log(tf.constant(value, tf.float32)).numpy()
            self._logarithm = layer.add_weight(
                name=f"log_{name}",
                shape=initial.shape,
                initializer=tf.keras.initializers.Constant(initial),
                constraint=_within_bounds,
            )

    def __call__(self) -> tf.Tensor:
        """Its value now, float32."""
        if self._logarithm is None:
            return tf.constant(self._constant, tf.float32)
        return tf.exp(self._logarithm)


def _within_bounds(logarithm: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(logarithm, math.log(_LEAST), math.log(_MOST))
