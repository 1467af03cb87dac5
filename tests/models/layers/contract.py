"""What every interaction layer must do, whatever its formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.layer_support import precision
from tests.models.builders import randomise
from tests.models.network_contract import assert_every_weight_has_a_gradient

Arrays = np.ndarray | Sequence[np.ndarray]


# A SavedModel holds traces of every layer, in use and in training, which costs seconds.
in_both_formats = pytest.mark.parametrize(
    "file", ["model.keras", pytest.param("saved_model", marks=pytest.mark.slow)]
)


def built(layer: tf.keras.layers.Layer, inputs: Arrays, seed: int = 1) -> tf.keras.layers.Layer:
    """The layer, built on the inputs, with random weights."""
    layer(inputs)
    randomise(layer.trainable_weights, seed)
    return layer


def assert_every_weight_learns(layer: tf.keras.layers.Layer, inputs: Arrays) -> None:
    """Every trainable weight has a gradient other than zero."""
    random = np.random.default_rng(7)
    direction = tf.constant(random.normal(size=layer(inputs).shape), tf.float32)
    assert_every_weight_has_a_gradient(
        lambda: tf.reduce_sum(direction * layer(inputs, training=True)),
        layer.trainable_weights,
        above=1e-6,
    )


def assert_rows_do_not_mix(layer: tf.keras.layers.Layer, inputs: Arrays) -> None:
    """A batch of 1 gives its row of the whole batch."""
    together = layer(inputs)
    for row in range(len(together)):
        alone = layer(tf.nest.map_structure(lambda part, row=row: part[row : row + 1], inputs))
        assert alone.shape == (1, *together.shape[1:])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def assert_survives_saving(layer: tf.keras.layers.Layer, inputs: Arrays, file: Path) -> None:
    """A functional model with the layer gives the same from a file, whose name says the format."""
    entries = tf.nest.map_structure(
        lambda part: tf.keras.Input(part.shape[1:], dtype=part.dtype), inputs
    )
    model = tf.keras.Model(entries, layer(entries))
    expected = model(inputs)
    model.save(file)
    again = tf.keras.models.load_model(file)
    np.testing.assert_allclose(again(inputs), expected, atol=1e-6)


def assert_runs_in_mixed_precision(
    make: Callable[[], tf.keras.layers.Layer], inputs: Arrays, tolerance: float = 0.1
) -> None:
    """In bfloat16 the layer stays close to float32, with weights in float32."""
    exact = built(make(), inputs)
    with precision("mixed_bfloat16"):
        mixed = make()
        mixed(inputs)
        mixed.set_weights(exact.get_weights())
        output: Any = mixed(inputs)
    assert output.dtype == tf.bfloat16
    assert {weight.dtype for weight in mixed.weights} <= {tf.float32}
    np.testing.assert_allclose(tf.cast(output, tf.float32), exact(inputs), atol=tolerance)


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
