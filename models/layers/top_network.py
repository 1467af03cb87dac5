"""The stack of dense layers on top of a backbone."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def top_network(
    units: Sequence[int], dropout_rate: float, name: str = "top_network"
) -> tf.keras.Sequential:
    """Dense ReLU Dropout for every width: [n, width] -> [n, units[-1]]."""
    layers: list[tf.keras.layers.Layer] = []
    for width in units:
        layers.append(tf.keras.layers.Dense(width, activation="relu"))
        layers.append(tf.keras.layers.Dropout(dropout_rate))
    return tf.keras.Sequential(layers, name=name)
