"""A model small enough to be trained in a moment, with every kind of state a training has."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from trainer.examples import PreparedExamples
from trainer.training_checkpoints import restorable_random_numbers

WIDTH = 3


class ToyModel(tfrs.models.Model):
    """Logistic regression behind batch normalisation and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = tf.keras.layers.BatchNormalization(momentum=0.8)
        self.dropout = tf.keras.layers.Dropout(0.4)
        self.dense = tf.keras.layers.Dense(1)
        self.untrained = tf.Variable(tf.ones([WIDTH]), trainable=False, name="untrained")

    def call(self, features: dict[str, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        hidden = self.normalise(features["x"] * self.untrained, training=training)
        return self.dense(self.dropout(hidden, training=training))[:, 0]

    def compute_loss(
        self, inputs: tuple[dict[str, tf.Tensor], tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        features, labels = inputs
        logits = self(features, training=training)
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits))


def toy_examples(count: int = 40) -> PreparedExamples:
    """Samples of which the first input says something about the label."""
    random = np.random.default_rng(3)
    inputs = random.normal(size=[count, WIDTH]).astype(np.float32)
    labels = (inputs[:, 0] + random.normal(size=count) > 0).astype(np.float32)
    ids = np.arange(count).astype(str)
    return PreparedExamples({"x": inputs}, labels, ids, ids)


def toy_model(
    seed: int = 1, rate: float = 0.05, steps: int = 40, steps_per_execution: int = 1
) -> ToyModel:
    """Built and compiled, as `trainer.training` does it, with Adam and a cosine schedule."""
    tf.keras.utils.set_random_seed(seed)
    with restorable_random_numbers():
        model = ToyModel()
        model({"x": tf.ones([2, WIDTH])})
    optimizer = tf.keras.optimizers.Adam(
        tf.keras.optimizers.schedules.CosineDecay(rate, steps), jit_compile=False
    )
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer, steps_per_execution=steps_per_execution)
    return model


def values_of(model: tf.keras.Model) -> list[np.ndarray]:
    """All weights, trained or not."""
    return [weight.numpy() for weight in model.weights]
