from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from configs.loading import ConfigurationError
from configs.training import Training
from tests.models.trainable import trainable_model
from trainer.optimizers import build_optimizer
from trainer.optimizers.composite import CompositeOptimizer, LazyAdam

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
