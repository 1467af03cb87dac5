"""Trains models on one device and on two, in a process of its own, and prints both as JSON.

    python -m tests.models.replicas CASE...

TensorFlow takes the number of logical devices once, before it computes anything.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from configs.training import Training
from tests.models.trainable import TrainableModel, trainable_model
from trainer.optimizers import build_optimizer

STEPS = 4
_APART = {
    "embedding_optimizer": "lazy_adam",
    "weight_decay": 0.1,
    "gradient_clip_norm": 0.05,
    "schedule": "cosine",
    "warmup_steps": 2,
}
_PROFILES = {"with_profiles": True, "match": "ridge"}
CASES: dict[str, tuple[str, Mapping[str, Any], Mapping[str, Any]]] = {
    "adam": ("din", _PROFILES, {}),
    "optimizers apart": ("deepfm", {"with_profiles": True, "match": "none"}, _APART),
    "scaled": ("dcnv2", {"match": "none"}, {**_APART, "precision": "mixed_float16"}),
    "tasks": ("wide_deep", {"tasks": {"loved": 0.5}, "match": "none"}, {"optimizer": "sgd"}),
    "lists": ("prm", {"sources": ("item",)}, {}),
    "listwise": ("prm", {"list_loss": "listwise"}, {"optimizer": "sgd"}),
    "retrieval": ("two_tower", {"sources": ("item",)}, {"optimizer": "sgd"}),
}
"""Name -> model, its options and settings of training. Lists are 5, so that parts differ."""


def main() -> None:
    """Trains the cases that are named."""
    devices = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
    one = tf.distribute.get_strategy()
    # One for all cases: the collectives of a second strategy get mixed up with those of the first.
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    print(json.dumps({name: _compared(name, one, two) for name in sys.argv[1:]}))


def _compared(
    name: str, one: tf.distribute.Strategy, two: tf.distribute.Strategy
) -> dict[str, Any]:
    losses, weights = _trained(name, one)
    two_replicas, others = _trained(name, two)
    differences = [
        float(np.abs(own - other).max()) for own, other in zip(weights, others, strict=True)
    ]
    return {
        "one": losses,
        "two": two_replicas,
        "weights": max(differences),
        "halves": _halves(name) if name == "retrieval" else [],
    }


def _trained(
    name: str, strategy: tf.distribute.Strategy
) -> tuple[dict[str, list[float]], list[np.ndarray]]:
    """Reported losses of every step, and all weights afterwards, moving statistics too."""
    with strategy.scope():
        trainable, training = _case(name)
        model = trainable.model
        model.compile(optimizer=build_optimizer(training, model, 10 * STEPS))
        batches = tf.data.Dataset.from_tensor_slices((trainable.features, trainable.labels))
        batches = batches.batch(len(trainable.labels)).repeat(STEPS)
        options = tf.data.Options()
        options.autotune.enabled = False
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        steps: list[Mapping[str, float]] = []
        model.fit(
            batches.with_options(options),
            callbacks=[
                tf.keras.callbacks.LambdaCallback(
                    on_batch_end=lambda batch, logs: steps.append(dict(logs))
                )
            ],
            verbose=0,
        )
    losses = {key: [float(step[key]) for step in steps] for key in steps[0]}
    floats = [weight for weight in model.weights if weight.dtype.is_floating and weight.shape[0:]]
    return losses, [weight.numpy().astype(np.float32) for weight in floats if 0 not in weight.shape]


def _halves(name: str) -> list[float]:
    """Mean losses of the two halves of the batch."""
    trainable, _ = _case(name)
    half = (len(trainable.labels) + 1) // 2
    parts = (slice(None, half), slice(half, None))
    return [
        float(
            trainable.model.compute_loss(
                (
                    {key: value[part] for key, value in trainable.features.items()},
                    trainable.labels[part],
                )
            )
        )
        for part in parts
    ]


def _case(name: str) -> tuple[TrainableModel, Training]:
    backbone, options, settings = CASES[name]
    training = Training.model_validate({"learning_rate": 0.01, **settings})
    return trainable_model(backbone, dropout=False, **options), training


if __name__ == "__main__":
    main()
