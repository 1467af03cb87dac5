from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from trainer.optimizers import CompositeOptimizer, LazyAdam

Gradient = tf.Tensor | tf.IndexedSlices
optimizers = tf.keras.optimizers

TABLE = np.random.default_rng(0).normal(size=[5, 2]).astype(np.float32)
KERNEL = np.random.default_rng(1).normal(size=[2, 3]).astype(np.float32)
BIAS = np.array([0.5, -0.25, 1.0], np.float32)


def variables() -> list[tf.Variable]:
    """A table, a kernel and a bias."""
    return [
        tf.Variable(TABLE, name="item_embedding"),
        tf.Variable(KERNEL, name="dense/kernel"),
        tf.Variable(BIAS, name="dense/bias"),
    ]


def gradients(seed: int) -> list[Gradient]:
    """Row 3 of the table is named twice."""
    random = np.random.default_rng(seed)
    rows = tf.constant([3, 1, 3])
    row_gradients = tf.constant(random.normal(size=[3, 2]), tf.float32)
    return [
        tf.IndexedSlices(row_gradients, rows, tf.constant([5, 2])),
        tf.constant(random.normal(size=[2, 3]), tf.float32),
        tf.constant(random.normal(size=[3]), tf.float32),
    ]


def trained(optimizer: optimizers.Optimizer, steps: int = 3) -> list[np.ndarray]:
    own = variables()
    optimizer.build(own)
    for step in range(steps):
        optimizer.apply_gradients(zip(gradients(step), own, strict=True))
    return [variable.numpy() for variable in own]


def composite(**options: Any) -> CompositeOptimizer:
    return CompositeOptimizer(
        optimizers.Adam(0.1, jit_compile=False), LazyAdam(0.2, jit_compile=False), **options
    )


def test_every_variable_has_the_update_of_its_optimizer() -> None:
    result = trained(
        CompositeOptimizer(optimizers.SGD(0.1), optimizers.Adagrad(0.2, jit_compile=False))
    )
    table_values = trained(optimizers.Adagrad(0.2, jit_compile=False))
    other_values = trained(optimizers.SGD(0.1))
    for own, expected in zip(result, [table_values[0], *other_values[1:]], strict=True):
        np.testing.assert_array_equal(own, expected)


def test_without_an_optimizer_for_tables_one_has_them_all() -> None:
    result = trained(CompositeOptimizer(optimizers.Adam(0.1, jit_compile=False)))
    for own, expected in zip(result, trained(optimizers.Adam(0.1, jit_compile=False)), strict=True):
        np.testing.assert_array_equal(own, expected)


def test_steps_are_counted_once() -> None:
    optimizer = composite()
    trained(optimizer, steps=3)
    assert int(optimizer.iterations) == 3
    assert optimizer.optimizer.iterations is optimizer.iterations
    assert optimizer.embedding_optimizer.iterations is optimizer.iterations
    # Two moments of three variables, and the steps.
    assert len(optimizer.variables) == 7
    assert len({id(variable) for variable in optimizer.variables}) == 7


def test_both_rates_follow_their_schedules() -> None:
    halves = optimizers.schedules.PiecewiseConstantDecay
    optimizer = CompositeOptimizer(
        optimizers.SGD(halves([0], [1.0, 0.0])), optimizers.SGD(halves([0], [0.0, 1.0]))
    )
    own = variables()
    for moved in ([False, True, True], [True, False, False]):
        before = [variable.numpy() for variable in own]
        optimizer.apply_gradients(zip(gradients(0), own, strict=True))
        after = [variable.numpy() for variable in own]
        assert [bool((a != b).any()) for a, b in zip(after, before, strict=True)] == moved
    assert float(optimizer.learning_rate) == 0.0


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_the_norm_of_all_gradients_with_rows_summed_is_clipped(share: float) -> None:
    table, kernel, bias = gradients(0)
    dense = np.zeros([5, 2], np.float32)
    np.add.at(dense, table.indices.numpy(), table.values.numpy())
    parts = [dense, kernel.numpy(), bias.numpy()]
    norm = np.sqrt(sum(np.square(part).sum() for part in parts))
    sgd = CompositeOptimizer(optimizers.SGD(1.0), global_clipnorm=float(share * norm))
    for own, start, part in zip(trained(sgd, 1), (TABLE, KERNEL, BIAS), parts, strict=True):
        np.testing.assert_allclose(own, start - min(1.0, share) * part, atol=1e-6)


def test_kernels_decay_as_with_adamw_and_nothing_else_does() -> None:
    result = trained(CompositeOptimizer(optimizers.Adam(0.1, jit_compile=False), weight_decay=0.3))
    decayed = trained(optimizers.AdamW(0.1, weight_decay=0.3, jit_compile=False))
    plain = trained(optimizers.Adam(0.1, jit_compile=False))
    np.testing.assert_array_equal(result[0], plain[0])
    np.testing.assert_array_equal(result[1], decayed[1])
    np.testing.assert_array_equal(result[2], plain[2])
    assert np.abs(decayed[1] - plain[1]).max() > 0.01


def test_decay_takes_its_share_times_the_rate() -> None:
    sgd = CompositeOptimizer(optimizers.SGD(0.5), optimizers.SGD(4.0), weight_decay=0.1)
    own = variables()
    nothing = [tf.zeros_like(variable) for variable in own]
    sgd.apply_gradients(zip(nothing, own, strict=True))
    for variable, expected in zip(own, (TABLE, 0.95 * KERNEL, BIAS), strict=True):
        np.testing.assert_allclose(variable, expected, rtol=1e-6)


def test_options_of_all_variables_are_not_an_inner_optimizers() -> None:
    for options in ({"weight_decay": 0.1}, {"global_clipnorm": 1.0}, {"clipvalue": 1.0}):
        with pytest.raises(ValueError, match="concern all variables; give them to the composite"):
            CompositeOptimizer(optimizers.SGD(0.1), optimizers.SGD(0.1, **options))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_graph_and_xla_make_the_same_steps(jit_compile: bool) -> None:
    optimizer, own = composite(weight_decay=0.1, global_clipnorm=0.5), variables()
    optimizer.build(own)

    @tf.function(jit_compile=jit_compile)
    def step(values: tf.Tensor, rows: tf.Tensor, *dense: tf.Tensor) -> None:
        table_gradient = tf.IndexedSlices(values, rows, tf.constant([5, 2]))
        optimizer.apply_gradients(zip([table_gradient, *dense], own, strict=True))

    for number in range(3):
        table, *dense = gradients(number)
        step(table.values, table.indices, *dense)
    expected = trained(composite(weight_decay=0.1, global_clipnorm=0.5))
    for variable, value in zip(own, expected, strict=True):
        np.testing.assert_allclose(variable, value, atol=1e-6)


@pytest.mark.parametrize("scaled", [False, True])
def test_a_restored_optimizer_goes_on_where_it_was(scaled: bool, tmp_path: Path) -> None:
    def optimizer() -> optimizers.Optimizer:
        made = composite(weight_decay=0.1)
        return tf.keras.mixed_precision.LossScaleOptimizer(made) if scaled else made

    def step(optimizer: optimizers.Optimizer, own: list[tf.Variable], number: int) -> None:
        given = gradients(number)
        if scaled:
            # What a model does around it: scaled losses give scaled gradients.
            optimizer.get_scaled_loss(tf.constant(1.0))
            scale = optimizer.loss_scale
            given = [
                tf.IndexedSlices(each.values * scale, each.indices, each.dense_shape)
                if isinstance(each, tf.IndexedSlices)
                else each * scale
                for each in given
            ]
            given = optimizer.get_unscaled_gradients(given)
        optimizer.apply_gradients(zip(given, own, strict=True))

    first, own = optimizer(), variables()
    first.build(own)
    for number in range(2):
        step(first, own, number)
    path = tf.train.Checkpoint(own=own, optimizer=first).write(str(tmp_path / "state"))
    second, restored = (
        optimizer(),
        [tf.Variable(tf.zeros_like(each), name=each.name.split(":")[0]) for each in own],
    )
    second.build(restored)
    tf.train.Checkpoint(own=restored, optimizer=second).read(path).assert_consumed()
    step(second, restored, 2)
    for variable, value in zip(restored, trained(composite(weight_decay=0.1)), strict=True):
        np.testing.assert_allclose(variable, value, atol=1e-6)


def test_a_step_with_infinite_gradients_is_skipped_under_loss_scaling() -> None:
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(composite(), initial_scale=64.0)
    own = variables()
    optimizer.build(own)
    table, kernel, bias = gradients(0)
    broken = optimizer.get_unscaled_gradients([table, kernel * np.inf, bias])
    optimizer.get_scaled_loss(tf.constant(1.0))
    optimizer.apply_gradients(zip(broken, own, strict=True))
    for variable, value in zip(own, (TABLE, KERNEL, BIAS), strict=True):
        np.testing.assert_array_equal(variable, value)
    assert float(optimizer.loss_scale) == 32.0
    assert int(optimizer.iterations) == 1


def test_configuration_makes_the_same_optimizer_again() -> None:
    optimizer = composite(weight_decay=0.1, global_clipnorm=2.0)
    again = tf.keras.optimizers.deserialize(tf.keras.optimizers.serialize(optimizer))
    assert isinstance(again, CompositeOptimizer)
    assert isinstance(again.embedding_optimizer, LazyAdam)
    assert again.get_config() == optimizer.get_config()
    for own, expected in zip(
        trained(again), trained(composite(weight_decay=0.1, global_clipnorm=2.0)), strict=True
    ):
        np.testing.assert_array_equal(own, expected)
    alone = CompositeOptimizer(optimizers.SGD(0.1), weight_decay=0.1)
    again = tf.keras.optimizers.deserialize(tf.keras.optimizers.serialize(alone))
    assert again.embedding_optimizer is None
