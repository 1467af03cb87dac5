from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.layers.dice import Dice
from tests.models.builders import gradients_of, sigmoid

INPUTS = np.array([[1.0, -2.0], [3.0, 0.5], [-1.0, 4.0], [0.0, 1.0]], np.float32)
ALPHA = np.array([0.25, -0.5], np.float32)


def dice(shape: tuple[int, ...] = (4, 2), **options: Any) -> Dice:
    layer = Dice(**options)
    layer(INPUTS.reshape(shape))
    (alpha,) = layer.trainable_weights
    alpha.assign(ALPHA)
    return layer


def by_hand(inputs: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    share = sigmoid((inputs - mean) / np.sqrt(variance + 1e-8))
    return share * inputs + (1 - share) * ALPHA * inputs


@pytest.mark.parametrize("shape", [(4, 2), (2, 2, 2), (1, 4, 2)])
def test_training_uses_the_statistics_of_the_batch(shape: tuple[int, ...]) -> None:
    # Column means 0.75 and 0.875; mean squares 11 / 4 and 21.25 / 4.
    mean = np.array([0.75, 0.875])
    variance = np.array([11 / 4, 21.25 / 4]) - mean**2
    output = dice(shape)(INPUTS.reshape(shape), training=True)
    np.testing.assert_allclose(output, by_hand(INPUTS, mean, variance).reshape(shape), atol=1e-5)


def test_inference_uses_moving_statistics() -> None:
    layer = dice(momentum=0.9)
    # Fresh moving statistics: mean 0, variance 1.
    np.testing.assert_allclose(layer(INPUTS), by_hand(INPUTS, np.zeros(2), np.ones(2)), atol=1e-5)
    layer(INPUTS, training=True)
    mean, variance = INPUTS.mean(axis=0), INPUTS.var(axis=0)
    np.testing.assert_allclose(
        layer(INPUTS), by_hand(INPUTS, 0.1 * mean, 0.9 + 0.1 * variance), atol=1e-5
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(4, 2), (2, 2, 2)])
def test_published_statistics_are_those_of_the_batch(
    training: bool, shape: tuple[int, ...]
) -> None:
    layer = dice(shape, statistics="batch")
    assert not layer.non_trainable_weights
    output = layer(INPUTS.reshape(shape), training=training)
    expected = by_hand(INPUTS, INPUTS.mean(axis=0), INPUTS.var(axis=0))
    np.testing.assert_allclose(output, expected.reshape(shape), atol=1e-5)
    mask = np.array([True, False, True, True])
    masked = layer(INPUTS.reshape(shape), training=training, mask=mask.reshape(shape[:-1]))
    counted = INPUTS[mask]
    expected = by_hand(INPUTS, counted.mean(axis=0), counted.var(axis=0))
    np.testing.assert_allclose(masked, expected.reshape(shape), atol=1e-5)


def test_unknown_statistics_are_refused() -> None:
    with pytest.raises(ValueError, match="Received: statistics='layer'"):
        Dice(statistics="layer")


def test_a_score_does_not_depend_on_the_other_rows() -> None:
    layer = dice()
    layer(INPUTS * 3, training=True)
    alone = np.concatenate([layer(INPUTS[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(layer(INPUTS), alone, atol=1e-6)


def test_a_constant_column_stays_finite() -> None:
    assert np.isfinite(dice()(np.ones([3, 2], np.float32), training=True)).all()


def test_alpha_is_all_that_learns_and_starts_at_zero() -> None:
    layer = Dice()
    layer(INPUTS)
    np.testing.assert_array_equal(layer.trainable_weights, np.zeros([1, 2]))
    (gradient,) = gradients_of(
        lambda: tf.reduce_sum(layer(INPUTS, training=True)), layer.trainable_weights
    )
    assert np.abs(gradient).min() > 0


def test_configuration_makes_the_same_layer_again() -> None:
    layer = Dice(momentum=0.8, epsilon=1e-3, statistics="batch")
    again = Dice.from_config(layer.get_config())
    assert (again.momentum, again.epsilon, again.statistics) == (0.8, 1e-3, "batch")
