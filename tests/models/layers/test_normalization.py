from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.layers.normalization import (
    BatchStandardization,
    Dice,
    FieldNormalization,
    all_if_none,
    masked_moments,
)
from tests.models.builders import gradients_of, sigmoid
from tests.models.layers.contract import built

STANDARDIZATION_INPUTS = np.array([[1.0, -2.0], [3.0, 0.5], [-1.0, 4.0], [0.0, 1.0]], np.float32)
MASK = np.array([True, False, True, True])


def standardised(inputs: np.ndarray, counted: np.ndarray, epsilon: float) -> np.ndarray:
    return (inputs - counted.mean(axis=0)) / np.sqrt(counted.var(axis=0) + epsilon)


class TestBatchStandardization:
    @pytest.mark.parametrize("shape", [(4, 2), (2, 2, 2)])
    def test_training_uses_what_counts_in_the_batch(self, shape: tuple[int, ...]) -> None:
        layer = BatchStandardization(epsilon=0.1)
        inputs, mask = STANDARDIZATION_INPUTS.reshape(shape), MASK.reshape(shape[:-1])
        expected = standardised(STANDARDIZATION_INPUTS, STANDARDIZATION_INPUTS[MASK], 0.1).reshape(
            shape
        )
        np.testing.assert_allclose(layer(inputs, training=True, mask=mask), expected, atol=1e-5)
        expected = standardised(STANDARDIZATION_INPUTS, STANDARDIZATION_INPUTS, 0.1).reshape(shape)
        np.testing.assert_allclose(layer(inputs, training=True), expected, atol=1e-5)
        assert layer.trainable_weights == []

    def test_inference_uses_moving_averages(self) -> None:
        layer = BatchStandardization(momentum=0.8, epsilon=0.1)
        layer(STANDARDIZATION_INPUTS, training=True, mask=MASK)
        counted = STANDARDIZATION_INPUTS[MASK]
        mean, variance = 0.2 * counted.mean(axis=0), 0.8 + 0.2 * counted.var(axis=0)
        expected = (STANDARDIZATION_INPUTS - mean) / np.sqrt(variance + 0.1)
        np.testing.assert_allclose(layer(STANDARDIZATION_INPUTS), expected, atol=1e-5)
        np.testing.assert_allclose(layer(STANDARDIZATION_INPUTS, mask=~MASK), expected, atol=1e-5)

    def test_a_mask_that_counts_nothing_counts_everything(self) -> None:
        np.testing.assert_array_equal(all_if_none(tf.constant([False, False])), [True, True])
        np.testing.assert_array_equal(all_if_none(tf.constant([False, True])), [False, True])
        layer = BatchStandardization(epsilon=0.1)
        outputs = layer(STANDARDIZATION_INPUTS, training=True, mask=np.zeros_like(MASK))
        np.testing.assert_allclose(
            outputs, standardised(STANDARDIZATION_INPUTS, STANDARDIZATION_INPUTS, 0.1), atol=1e-5
        )

    @pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
    def test_moments_have_the_digits_of_float32(self, dtype: tf.DType) -> None:
        inputs = tf.cast(STANDARDIZATION_INPUTS, dtype)
        exact = tf.cast(inputs, tf.float32).numpy()[MASK]
        mean, variance = masked_moments(inputs, tf.constant(MASK))
        assert mean.dtype == variance.dtype == tf.float32
        np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(variance, exact.var(axis=0), rtol=1e-6)

    def test_configuration_makes_the_same_layer_again(self) -> None:
        layer = BatchStandardization(momentum=0.8, epsilon=0.2, name="own")
        again = BatchStandardization.from_config(layer.get_config())
        assert (again.momentum, again.epsilon, again.name) == (0.8, 0.2, "own")
        for each in (layer, again):
            each(STANDARDIZATION_INPUTS, training=True)
        np.testing.assert_array_equal(again(STANDARDIZATION_INPUTS), layer(STANDARDIZATION_INPUTS))


DICE_INPUTS = np.array([[1.0, -2.0], [3.0, 0.5], [-1.0, 4.0], [0.0, 1.0]], np.float32)
ALPHA = np.array([0.25, -0.5], np.float32)


def dice(shape: tuple[int, ...] = (4, 2), **options: Any) -> Dice:
    layer = Dice(**options)
    layer(DICE_INPUTS.reshape(shape))
    (alpha,) = layer.trainable_weights
    alpha.assign(ALPHA)
    return layer


def by_hand(inputs: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    share = sigmoid((inputs - mean) / np.sqrt(variance + 1e-8))
    return share * inputs + (1 - share) * ALPHA * inputs


def published(inputs: np.ndarray, alpha: float) -> np.ndarray:
    """The arithmetic that REKI was published with, over the first axis of any inputs."""
    inputs = inputs.astype(np.float64)
    share = sigmoid((inputs - inputs.mean(axis=0)) / np.sqrt(inputs.var(axis=0, ddof=1) + 1e-9))
    return alpha * inputs * (1 - share) + inputs * share


class TestDice:
    @pytest.mark.parametrize("shape", [(4, 2), (2, 2, 2), (1, 4, 2)])
    def test_training_uses_the_statistics_of_the_batch(self, shape: tuple[int, ...]) -> None:
        # Column means 0.75 and 0.875; mean squares 11 / 4 and 21.25 / 4.
        mean = np.array([0.75, 0.875])
        variance = np.array([11 / 4, 21.25 / 4]) - mean**2
        output = dice(shape)(DICE_INPUTS.reshape(shape), training=True)
        np.testing.assert_allclose(
            output, by_hand(DICE_INPUTS, mean, variance).reshape(shape), atol=1e-5
        )

    def test_inference_uses_moving_statistics(self) -> None:
        layer = dice(momentum=0.9)
        # Fresh moving statistics: mean 0, variance 1.
        np.testing.assert_allclose(
            layer(DICE_INPUTS), by_hand(DICE_INPUTS, np.zeros(2), np.ones(2)), atol=1e-5
        )
        layer(DICE_INPUTS, training=True)
        mean, variance = DICE_INPUTS.mean(axis=0), DICE_INPUTS.var(axis=0)
        np.testing.assert_allclose(
            layer(DICE_INPUTS), by_hand(DICE_INPUTS, 0.1 * mean, 0.9 + 0.1 * variance), atol=1e-5
        )

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("scale", [1.0, 1e-4])
    @pytest.mark.parametrize("shape", [(6, 2), (5, 3, 2), (2, 4, 1), (3, 2, 2, 2)])
    def test_published_statistics_are_those_of_a_position_over_the_batch(
        self, training: bool, scale: float, shape: tuple[int, ...]
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

    def test_published_statistics_by_hand(self) -> None:
        # Two rows of two steps: means 2 and 0, differences 1 and 3, variances 2 and 18.
        inputs = np.array([[[1.0], [3.0]], [[3.0], [-3.0]]], np.float32)
        low, high = sigmoid(-1 / np.sqrt(2)), sigmoid(1 / np.sqrt(2))
        expected = [[[1 * low], [3 * high]], [[3 * high], [-3 * low]]]
        np.testing.assert_allclose(Dice(statistics="batch")(inputs), expected, rtol=1e-5)

    def test_published_statistics_of_a_single_row_are_finite(self) -> None:
        np.testing.assert_allclose(
            Dice(statistics="batch")(DICE_INPUTS[:1]), DICE_INPUTS[:1] / 2, rtol=1e-6
        )

    def test_unknown_statistics_are_refused(self) -> None:
        with pytest.raises(ValueError, match="Received: statistics='layer'"):
            Dice(statistics="layer")

    def test_a_score_does_not_depend_on_the_other_rows(self) -> None:
        layer = dice()
        layer(DICE_INPUTS * 3, training=True)
        alone = np.concatenate([layer(DICE_INPUTS[i : i + 1]) for i in range(4)])
        np.testing.assert_allclose(layer(DICE_INPUTS), alone, atol=1e-6)

    def test_a_constant_column_stays_finite(self) -> None:
        assert np.isfinite(dice()(np.ones([3, 2], np.float32), training=True)).all()

    def test_alpha_is_all_that_learns_and_starts_at_zero(self) -> None:
        layer = Dice()
        layer(DICE_INPUTS)
        np.testing.assert_array_equal(layer.trainable_weights, np.zeros([1, 2]))
        (gradient,) = gradients_of(
            lambda: tf.reduce_sum(layer(DICE_INPUTS, training=True)), layer.trainable_weights
        )
        assert np.abs(gradient).min() > 0

    @pytest.mark.parametrize(("statistics", "epsilon"), [("moving", 1e-8), ("batch", 1e-9)])
    def test_each_statistic_has_its_epsilon(self, statistics: str, epsilon: float) -> None:
        assert Dice(statistics=statistics).epsilon == epsilon


FIELDS = np.random.default_rng(0).normal(size=[5, 4, 3], loc=2, scale=3).astype(np.float32)


class TestFieldNormalization:
    @pytest.mark.parametrize("epsilon", [1e-5, 0.5])
    def test_every_field_is_normalised_by_itself(self, epsilon: float) -> None:
        layer = built(FieldNormalization(epsilon), FIELDS)
        gain, bias = layer._gain.numpy(), layer._bias.numpy()
        output = layer(FIELDS)
        for row in range(5):
            for field in range(4):
                numbers = FIELDS[row, field].astype(np.float64)
                mean = sum(numbers) / 3
                variance = sum((number - mean) ** 2 for number in numbers) / 3
                expected = (
                    gain[field] * (numbers - mean) / np.sqrt(variance + epsilon) + bias[field]
                )
                np.testing.assert_allclose(output[row, field], expected, atol=1e-5)

    def test_it_starts_as_plain_normalisation(self) -> None:
        output = FieldNormalization()(FIELDS).numpy()
        np.testing.assert_allclose(output.mean(axis=2), np.zeros([5, 4]), atol=1e-5)
        np.testing.assert_allclose(output.std(axis=2), np.ones([5, 4]), atol=1e-3)

    def test_a_field_of_zeros_gives_the_bias(self) -> None:
        layer = built(FieldNormalization(), FIELDS)
        np.testing.assert_array_equal(layer(np.zeros([1, 4, 3], np.float32))[0], layer._bias)
