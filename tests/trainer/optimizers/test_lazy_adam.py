from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.layer_support import precision
from trainer.optimizers import LazyAdam

RATE, BETA_1, BETA_2, EPSILON = 0.1, 0.8, 0.95, 1e-6
ROWS, WIDTH = 6, 2
# Rows are met twice in a step, or first in a late one; row 4 is never met.
STEPS = [[0, 2, 0], [1], [2, 2, 3, 0], [5, 1]]

Gradient = tf.IndexedSlices


def table() -> np.ndarray:
    return np.random.default_rng(0).normal(size=[ROWS, WIDTH]).astype(np.float32)


def gradients() -> list[Gradient]:
    random = np.random.default_rng(1)
    return [
        tf.IndexedSlices(
            tf.constant(random.normal(size=[len(rows), WIDTH]), tf.float32),
            tf.constant(rows, tf.int32),
            tf.constant([ROWS, WIDTH]),
        )
        for rows in STEPS
    ]


def by_hand() -> np.ndarray:
    """The docstring's formula in NumPy, row by row."""
    x = table().astype(np.float64)
    m, v = np.zeros_like(x), np.zeros_like(x)
    for step, gradient in enumerate(gradients(), start=1):
        correction = np.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)
        for row in set(gradient.indices.numpy()):
            g = gradient.values.numpy()[gradient.indices.numpy() == row].sum(axis=0)
            m[row] = BETA_1 * m[row] + (1 - BETA_1) * g
            v[row] = BETA_2 * v[row] + (1 - BETA_2) * g**2
            x[row] -= RATE * correction * m[row] / (np.sqrt(v[row]) + EPSILON)
    return x


def lazy_adam() -> LazyAdam:
    return LazyAdam(RATE, BETA_1, BETA_2, EPSILON, jit_compile=False)


def eager(step: Callable[..., None]) -> Callable[..., None]:
    return step


def compiled(step: Callable[..., None]) -> Callable[..., None]:
    return tf.function(step, reduce_retracing=True, autograph=False)


def compiled_by_xla(step: Callable[..., None]) -> Callable[..., None]:
    return tf.function(step, jit_compile=True, autograph=False)


@pytest.mark.parametrize("mode", [eager, compiled, compiled_by_xla])
def test_touched_rows_follow_the_formula(mode: Callable[..., Callable[..., None]]) -> None:
    variable, optimizer = tf.Variable(table()), lazy_adam()
    optimizer.build([variable])

    def step(values: tf.Tensor, rows: tf.Tensor) -> None:
        gradient = tf.IndexedSlices(values, rows, tf.constant([ROWS, WIDTH]))
        optimizer.apply_gradients([(gradient, variable)])

    make_step = mode(step)
    for gradient in gradients():
        make_step(gradient.values, gradient.indices)
    np.testing.assert_allclose(variable, by_hand(), atol=1e-5)
    assert int(optimizer.iterations) == len(STEPS)


def test_other_rows_and_their_moments_do_not_change() -> None:
    variable, optimizer = tf.Variable(table()), lazy_adam()
    optimizer.build([variable])
    _, first, second = optimizer.variables
    for gradient, rows in zip(gradients(), STEPS, strict=True):
        before = [each.numpy() for each in (variable, first, second)]
        optimizer.apply_gradients([(gradient, variable)])
        for each, old in zip((variable, first, second), before, strict=True):
            moved = np.any(each.numpy() != old, axis=1)
            np.testing.assert_array_equal(np.flatnonzero(moved), sorted(set(rows)))


def test_a_row_that_is_met_late_starts_with_a_longer_step() -> None:
    variable = tf.Variable([[0.0], [0.0]])
    optimizer = LazyAdam(0.1, jit_compile=False)
    optimizer.build([variable])
    shape = tf.constant([2, 1])
    optimizer.apply_gradients([(tf.IndexedSlices([[5.0]], [0], shape), variable)])
    np.testing.assert_allclose(variable, [[-0.1], [0.0]], rtol=1e-5)
    optimizer.iterations.assign(100_000)
    optimizer.apply_gradients([(tf.IndexedSlices([[7.0]], [1], shape), variable)])
    np.testing.assert_allclose(variable[1], [-0.1 * (1 - 0.9) / np.sqrt(1 - 0.999)], rtol=1e-3)


@pytest.mark.parametrize("sparse", [True, False])
def test_it_is_adam_where_every_row_is_touched(sparse: bool) -> None:
    lazy, plain = tf.Variable(table()), tf.Variable(table())
    optimizers = (
        lazy_adam(),
        tf.keras.optimizers.Adam(RATE, BETA_1, BETA_2, EPSILON, jit_compile=False),
    )
    random = np.random.default_rng(2)
    for _ in range(4):
        dense = tf.constant(random.normal(size=[ROWS, WIDTH]), tf.float32)
        rows = tf.IndexedSlices(dense, tf.range(ROWS), tf.constant([ROWS, WIDTH]))
        optimizers[0].apply_gradients([(rows if sparse else dense, lazy)])
        optimizers[1].apply_gradients([(dense, plain)])
    if sparse:
        np.testing.assert_allclose(lazy, plain, rtol=1e-6)
    else:
        np.testing.assert_array_equal(lazy, plain)


def test_a_scheduled_rate_counts_every_step() -> None:
    schedule = tf.keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.0, 0.1])
    variable, optimizer = tf.Variable(table()), LazyAdam(schedule, jit_compile=False)
    for still, gradient in zip((True, True, False), gradients(), strict=False):
        before = variable.numpy()
        optimizer.apply_gradients([(gradient, variable)])
        assert np.array_equal(variable, before) == still


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_weights_of_a_mixed_layer_are_trained_in_float32(policy: str) -> None:
    with precision(policy):
        layer = tf.keras.layers.Embedding(ROWS, WIDTH)
    layer(tf.constant([0]))
    (variable,) = layer.trainable_weights
    variable.assign(table())
    optimizer = lazy_adam()
    optimizer.build([variable])
    for gradient in gradients():
        optimizer.apply_gradients([(gradient, variable)])
    assert {each.dtype for each in optimizer.variables[1:]} == {tf.float32}
    np.testing.assert_allclose(variable, by_hand(), atol=1e-5)


def test_a_restored_optimizer_goes_on_where_it_was(tmp_path: Path) -> None:
    variable, optimizer = tf.Variable(table()), lazy_adam()
    optimizer.build([variable])
    for gradient in gradients()[:2]:
        optimizer.apply_gradients([(gradient, variable)])
    path = tf.train.Checkpoint(x=variable, optimizer=optimizer).write(str(tmp_path / "state"))
    restored, other = tf.Variable(tf.zeros([ROWS, WIDTH])), lazy_adam()
    other.build([restored])
    tf.train.Checkpoint(x=restored, optimizer=other).read(path).assert_consumed()
    for gradient in gradients()[2:]:
        other.apply_gradients([(gradient, restored)])
    np.testing.assert_allclose(restored, by_hand(), atol=1e-5)


def test_configuration_makes_the_same_optimizer_again() -> None:
    again = tf.keras.optimizers.deserialize(tf.keras.optimizers.serialize(lazy_adam()))
    assert isinstance(again, LazyAdam)
    assert again.get_config() == lazy_adam().get_config()
    assert (again.beta_1, again.beta_2, again.epsilon) == (BETA_1, BETA_2, EPSILON)
    assert float(again.learning_rate) == pytest.approx(RATE)
