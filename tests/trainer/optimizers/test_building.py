from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from configs.loading import ConfigurationError
from configs.training import Schedule, Training
from models.adapters import ADAPTERS
from tests.models.trainable import NAMES, TrainableModel, trainable_model
from trainer.optimizers import (
    CompositeOptimizer,
    LazyAdam,
    build_optimizer,
    is_dense_kernel,
    is_embedding_table,
    learning_rate,
)

STEPS = 8
Optimizer = tf.keras.optimizers.Optimizer


def built(total_steps: int = STEPS, **settings: Any) -> Optimizer:
    return build_optimizer(Training.model_validate(settings), toy(), total_steps)


def toy() -> tf.keras.Model:
    """One embedding table, one dense layer."""
    model = tf.keras.Sequential([tf.keras.layers.Embedding(5, 2), tf.keras.layers.Dense(1)])
    model(tf.constant([[1]]))
    return model


def trained(optimizer: Optimizer, weights: list[tf.Variable]) -> list[np.ndarray]:
    """The weights after steps with made-up gradients; that of a table has a row twice."""
    random = np.random.default_rng(0)
    for _ in range(STEPS):
        gradients = [
            tf.constant(random.normal(size=weight.shape), tf.float32) for weight in weights
        ]
        rows = tf.constant([0, 3, 3, 1, 4])
        gradients[0] = tf.IndexedSlices(gradients[0], rows, tf.constant(weights[0].shape))
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
    return [weight.numpy() for weight in weights]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_default_is_keras_adam_bit_for_bit(schedule: str) -> None:
    rate = tf.keras.optimizers.schedules.CosineDecay(0.01, STEPS)
    expected = tf.keras.optimizers.Adam(
        0.01 if schedule == "constant" else rate, epsilon=1e-8, jit_compile=False
    )
    model, other = toy(), toy()
    other.set_weights(model.get_weights())
    training = Training.model_validate({"learning_rate": 0.01, "schedule": schedule})
    own = trained(build_optimizer(training, model, STEPS), model.trainable_weights)
    for weight, value in zip(own, trained(expected, other.trainable_weights), strict=True):
        np.testing.assert_array_equal(weight, value)
    assert type(built(schedule=schedule)) is tf.keras.optimizers.Adam


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", tf.keras.optimizers.Adam),
        ("adagrad", tf.keras.optimizers.Adagrad),
        ("sgd", tf.keras.optimizers.SGD),
    ],
)
def test_one_optimizer_for_all_is_kerass_own(name: str, kind: type[Optimizer]) -> None:
    optimizer = built(optimizer=name, learning_rate=0.25)
    assert type(optimizer) is kind
    assert float(optimizer.learning_rate) == 0.25
    assert not optimizer.jit_compile


@pytest.mark.parametrize(
    ("settings", "kind", "rate"),
    [
        ({"embedding_optimizer": "lazy_adam"}, LazyAdam, 0.5),
        (
            {"embedding_optimizer": "adagrad", "embedding_learning_rate": 0.125},
            tf.keras.optimizers.Adagrad,
            0.125,
        ),
        ({"embedding_optimizer": "adam"}, tf.keras.optimizers.Adam, 0.5),
        (
            {"embedding_learning_rate": 0.125, "optimizer": "sgd"},
            tf.keras.optimizers.SGD,
            0.125,
        ),
    ],
)
def test_embedding_tables_have_their_own(
    settings: dict[str, Any], kind: type[Optimizer], rate: float
) -> None:
    optimizer = built(learning_rate=0.5, **settings)
    assert isinstance(optimizer, CompositeOptimizer)
    assert type(optimizer.embedding_optimizer) is kind
    assert float(optimizer.embedding_optimizer.learning_rate) == rate
    assert float(optimizer.learning_rate) == 0.5
    assert (optimizer.weight_decay, optimizer.global_clipnorm) == (None, None)


def test_clipping_and_decay_are_those_of_the_whole() -> None:
    optimizer = built(gradient_clip_norm=2.0, weight_decay=0.1)
    assert isinstance(optimizer, CompositeOptimizer)
    assert optimizer.embedding_optimizer is None
    assert (optimizer.weight_decay, optimizer.global_clipnorm) == (0.1, 2.0)


def test_both_rates_have_one_shape() -> None:
    optimizer = built(
        20,
        schedule="cosine",
        warmup_steps=4,
        learning_rate=0.5,
        embedding_learning_rate=0.25,
    )
    rates = optimizer.optimizer._learning_rate, optimizer.embedding_optimizer._learning_rate
    for step in (0, 2, 4, 9, 20):
        assert float(rates[1](step)) == pytest.approx(float(rates[0](step)) / 2)
    assert float(rates[0](4)) == 0.5


@pytest.mark.parametrize("total_steps", [10, 9])
def test_warm_up_must_end_before_training_does(total_steps: int) -> None:
    with pytest.raises(ConfigurationError, match=r"warmup_steps \(10\) must be less than .*steps"):
        built(total_steps, warmup_steps=10)
    assert built(11, warmup_steps=10)


@pytest.mark.parametrize("settings", [{}, {"embedding_optimizer": "lazy_adam"}])
def test_float16_scales_losses(settings: dict[str, Any]) -> None:
    optimizer = built(precision="mixed_float16", **settings)
    assert isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer)
    assert optimizer.dynamic
    assert isinstance(optimizer.inner_optimizer, CompositeOptimizer) == bool(settings)
    other = built(precision="mixed_bfloat16", **settings)
    assert not isinstance(other, tf.keras.mixed_precision.LossScaleOptimizer)


@pytest.mark.parametrize(("settings", "count"), [({}, 7), ({"embedding_optimizer": "adagrad"}, 6)])
def test_what_is_remembered_of_weights_exists_before_the_first_step(
    settings: dict[str, Any], count: int
) -> None:
    # Steps; two moments of three weights, or of two and one sum of squares.
    assert len(built(**settings).variables) == count


def test_a_model_learns_with_optimizers_apart() -> None:
    training = Training.model_validate(
        {
            "learning_rate": 0.02,
            "embedding_optimizer": "lazy_adam",
            "embedding_learning_rate": 0.05,
            "weight_decay": 0.01,
            "gradient_clip_norm": 1.0,
        }
    )
    trainable = trainable_model("din", dropout=False)
    model = trainable.model
    model.compile(optimizer=build_optimizer(training, model, 30))
    step = tf.function(model.train_step)
    losses = [float(step((trainable.features, trainable.labels))["loss"]) for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0], losses


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


FAST = ("bst", "prm", "two_tower")
# Learned vectors that are multiplied with nothing, and gains and shifts with several axes.
NO_KERNELS = ("points", "context", "gain", "bias")


def named(name: str, *shape: int) -> tf.Variable:
    return tf.Variable(tf.zeros(shape), name=name)


@pytest.mark.parametrize(
    ("variable", "is_table", "is_kernel"),
    [
        (named("encoder/item_id_embedding", 5, 2), True, False),
        (named("embedding_1/embeddings", 5, 2), True, False),
        (named("encoder/item_id_embedding/part_3", 5, 2), True, False),
        (named("embedding/kernel", 5, 2), False, True),
        (named("gru/recurrent_kernel", 5, 2), False, True),
        (named("hein/shared_kernel_0", 3, 5, 2), False, True),
        (named("hein/shared_bias_0", 3, 5), False, False),
        (named("dense/bias", 5), False, False),
        (named("default_embedding", 5), False, False),
        (named("temperature_kernel"), False, False),
        (named("kernel_embedding", 5, 2), True, False),
    ],
)
def test_names_and_shapes_decide(variable: tf.Variable, is_table: bool, is_kernel: bool) -> None:
    assert (is_embedding_table(variable), is_dense_kernel(variable)) == (is_table, is_kernel)


def test_keras_layers() -> None:
    table = tf.keras.layers.Embedding(4, 2)
    table(tf.constant([1]))
    assert [is_embedding_table(weight) for weight in table.weights] == [True]
    for layer, inputs in (
        (tf.keras.layers.Dense(3), tf.ones([1, 2])),
        (tf.keras.layers.GRU(3), tf.ones([1, 2, 2])),
        (tf.keras.layers.LayerNormalization(), tf.ones([1, 2])),
    ):
        layer(inputs)
        for weight in layer.weights:
            assert is_dense_kernel(weight) == ("kernel" in weight.name)
            assert not is_embedding_table(weight)


@pytest.mark.parametrize(
    "name",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES],
)
def test_tables_are_what_a_batch_looks_rows_up_in(name: str) -> None:
    assert_kinds_are_as_gradients_say(trainable_model(name))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("prm", {"backbone_options": {"num_positions": 3}}),
        ("finalmlp", {"backbone_options": {"gating": "learned"}}),
        *(("deepfm", {"adapter": adapter}) for adapter in ADAPTERS if adapter != "hein"),
        ("deepfm", {"adapter": "replace_id", "sources": ("item", "plot")}),
    ],
)
@pytest.mark.slow
def test_tables_of_other_adapters_and_options(name: str, options: dict[str, Any]) -> None:
    shapes = {
        "mlp": {"units": (5, 4)},
        "moe": {"expert_units": (5, 4), "num_experts": 2},
        "pq": {"num_codebooks": 2, "codebook_size": 2},
    }
    assert_kinds_are_as_gradients_say(trainable_model(name, **shapes, **options))


def assert_kinds_are_as_gradients_say(trainable: TrainableModel) -> None:
    """Gradients of tables, and of tables alone, are sparse; every other matrix is a kernel."""
    model = trainable.model
    with tf.GradientTape() as tape:
        losses = [model.compute_loss((trainable.features, trainable.labels), training=True)]
        loss = tf.add_n([*losses, *model.losses])
    gradients = tape.gradient(loss, model.trainable_variables)
    tables = 0
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        is_table = is_embedding_table(variable)
        tables += is_table
        assert isinstance(gradient, tf.IndexedSlices) == is_table, variable.name
        if variable.shape.rank < 2:
            assert not is_dense_kernel(variable), variable.name
        elif not is_table:
            is_kernel = not any(name in variable.name.split("/")[-1] for name in NO_KERNELS)
            assert is_dense_kernel(variable) == is_kernel, variable.name
    assert tables >= 1
