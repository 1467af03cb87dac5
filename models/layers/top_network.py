"""The dense layers on top of a backbone, and random numbers whose state can be saved."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.layer_support import PACKAGE


def top_network(
    units: Sequence[int], dropout_rate: float, name: str = "top_network"
) -> tf.keras.Sequential:
    """Dense ReLU Dropout for every width: [n, width] -> [n, units[-1]]."""
    layers: list[tf.keras.layers.Layer] = []
    for width in units:
        layers.append(tf.keras.layers.Dense(width, activation="relu"))
        layers.append(tf.keras.layers.Dropout(dropout_rate))
    return tf.keras.Sequential(layers, name=name)


@tf.keras.utils.register_keras_serializable(PACKAGE)
class RandomNumbers(tf.keras.__internal__.layers.BaseRandomLayer):
    """Uniform random numbers in [0, 1), drawn as Keras' own Dropout draws its.

    Where Keras is told to use `tf.random.Generator`
    (`tf.keras.backend.experimental.enable_tf_random_generator`), the state is a variable, which a
    checkpoint can hold; a training that is resumed then draws what an unbroken one would have.
    """

    def __init__(self, **kwargs: object):
        """Creates the generator at once, so that its state is there before the first draw."""
        super().__init__(autocast=False, **kwargs)
        self.build(None)

    def uniform(self, shape: tf.Tensor | Sequence[tf.Tensor | int]) -> tf.Tensor:
        """Draws float32 numbers of a shape."""
        return self._random_generator.random_uniform(shape, dtype=tf.float32)
