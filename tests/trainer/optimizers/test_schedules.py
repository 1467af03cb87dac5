from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from configs.training import Schedule
from trainer.optimizers.building import learning_rate

RATE, TOTAL = 0.3, 20


def rates(schedule: Schedule, warmup_steps: int) -> np.ndarray:
    """The rate of every step and of one after the last."""
    rate = learning_rate(RATE, schedule, warmup_steps, TOTAL)
    return np.array([float(rate(step)) if callable(rate) else rate for step in range(TOTAL + 1)])


def test_a_constant_rate_is_a_number() -> None:
    assert learning_rate(RATE, "constant", 0, TOTAL) == RATE


def test_without_warm_up_the_cosine_is_that_of_keras() -> None:
    schedule = learning_rate(RATE, "cosine", 0, TOTAL)
    plain = tf.keras.optimizers.schedules.CosineDecay(RATE, TOTAL)
    assert schedule.get_config() == plain.get_config()
    expected = [RATE * (1 + math.cos(math.pi * step / TOTAL)) / 2 for step in range(TOTAL + 1)]
    np.testing.assert_allclose(rates("cosine", 0), expected, atol=1e-7)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("warmup_steps", [1, 5, TOTAL - 1])
def test_warm_up_rises_from_0_in_equal_parts(schedule: Schedule, warmup_steps: int) -> None:
    rising = rates(schedule, warmup_steps)[: warmup_steps + 1]
    np.testing.assert_allclose(rising, RATE * np.arange(warmup_steps + 1) / warmup_steps, atol=1e-7)


def test_after_warm_up_a_constant_rate_stays() -> None:
    np.testing.assert_allclose(rates("constant", 5)[5:], np.full(TOTAL - 4, RATE), rtol=1e-6)


def test_after_warm_up_the_cosine_takes_all_that_is_left() -> None:
    left = TOTAL - 5
    expected = [RATE * (1 + math.cos(math.pi * step / left)) / 2 for step in range(left + 1)]
    np.testing.assert_allclose(rates("cosine", 5)[5:], expected, atol=1e-7)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_an_optimizer_with_it_can_be_described_and_made_again(schedule: Schedule) -> None:
    optimizer = tf.keras.optimizers.Adam(learning_rate(RATE, schedule, 5, TOTAL))
    again = tf.keras.optimizers.deserialize(tf.keras.optimizers.serialize(optimizer))
    for step in (0, 3, 5, 12):
        assert float(again._learning_rate(step)) == float(optimizer._learning_rate(step))
