"""Random numbers of a training that can be saved and restored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf


@contextmanager
def restorable_random_numbers() -> Iterator[None]:
    """Layers made inside draw from `tf.random.Generator`, whose state is a variable.

    Those made outside draw from the kernels' own counters, which nothing can save.

    Devices of a distribution have one state, from which each draws numbers of its own: a training
    that goes on with as many devices draws what an unbroken one would. Workers of parameter servers
    draw in the order in which they come.
    """
    backend = tf.keras.backend.experimental
    was_enabled = backend.is_tf_random_generator_enabled()
    backend.enable_tf_random_generator()
    try:
        yield
    finally:
        if not was_enabled:
            backend.disable_tf_random_generator()


def random_states(model: tf.keras.Model) -> list[tf.Variable]:
    """State of every generator of a model that was built by `restorable_random_numbers`.

    Keras keeps these variables out of its own checkpoints, and gives no public way to them.
    """
    layers = [
        layer
        for layer in model.submodules
        if isinstance(layer, tf.keras.__internal__.layers.BaseRandomLayer)
    ]
    generators = [layer._random_generator._generator for layer in layers if layer.built]
    return [generator.state for generator in generators if generator is not None]
