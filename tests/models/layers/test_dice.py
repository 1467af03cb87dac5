from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.layers.normalization import Dice
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


def published(inputs: np.ndarray, alpha: float) -> np.ndarray:
    """The arithmetic that REKI was published with, over the first axis of any inputs."""
    inputs = inputs.astype(np.float64)
    share = sigmoid((inputs - inputs.mean(axis=0)) / np.sqrt(inputs.var(axis=0, ddof=1) + 1e-9))
    return alpha * inputs * (1 - share) + inputs * share


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1e-4])
@pytest.mark.parametrize("shape", [(6, 2), (5, 3, 2), (2, 4, 1), (3, 2, 2, 2)])
def test_published_statistics_are_those_of_a_position_over_the_batch(
    training: bool, scale: float, shape: tuple[int, ...]
) -> None:
    inputs = scale * np.random.default_rng(0).normal(2.0, 3.0, size=shape).astype(np.float32)
    layer = Dice(statistics="batch")
    layer(inputs)
    (alpha,) = layer.weights
    assert alpha.shape == ()
    alpha.assign(0.25)
    expected = published(inputs, 0.25)
    np.testing.assert_allclose(layer(inputs, training=training), expected, rtol=1e-4, atol=1e-8)
    padding = np.zeros(shape[:-1], bool)
    np.testing.assert_array_equal(
        layer(inputs, training=training, mask=padding), layer(inputs, training=training)
    )


def test_published_statistics_by_hand() -> None:
    # Two rows of two steps: means 2 and 0, differences 1 and 3, variances 2 and 18.
    inputs = np.array([[[1.0], [3.0]], [[3.0], [-3.0]]], np.float32)
    low, high = sigmoid(-1 / np.sqrt(2)), sigmoid(1 / np.sqrt(2))
    expected = [[[1 * low], [3 * high]], [[3 * high], [-3 * low]]]
    np.testing.assert_allclose(Dice(statistics="batch")(inputs), expected, rtol=1e-5)


def test_published_statistics_of_a_single_row_are_finite() -> None:
    np.testing.assert_allclose(Dice(statistics="batch")(INPUTS[:1]), INPUTS[:1] / 2, rtol=1e-6)


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


@pytest.mark.parametrize(("statistics", "epsilon"), [("moving", 1e-8), ("batch", 1e-9)])
def test_each_statistic_has_its_epsilon(statistics: str, epsilon: float) -> None:
    assert Dice(statistics=statistics).epsilon == epsilon


def test_configuration_makes_the_same_layer_again() -> None:
    layer = Dice(momentum=0.8, epsilon=1e-3, statistics="batch")
    again = Dice.from_config(layer.get_config())
    assert (again.momentum, again.epsilon, again.statistics) == (0.8, 1e-3, "batch")
