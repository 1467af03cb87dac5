"""Training of every kind of model in mixed precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.layer_support import precision
from models.scoring_model import ScoringModel
from tests.models.trainable import NAMES, TrainableModel, trainable_model

FAST = {("din", "mixed_float16"), ("dlrm", "mixed_float16"), ("two_tower", "mixed_bfloat16")}
POLICIES = ("mixed_bfloat16", "mixed_float16")
FLOATS = (tf.float16, tf.bfloat16, tf.float32, tf.float64)

every_model = pytest.mark.parametrize(
    ("name", "policy"),
    [
        pytest.param(name, policy, marks=() if (name, policy) in FAST else pytest.mark.slow)
        for name in NAMES
        for policy in POLICIES
    ],
)


def train(trainable: TrainableModel, policy: str, steps: int = 3) -> list[float]:
    """Total losses of some steps."""
    model = trainable.model
    optimizer = tf.keras.optimizers.Adam(0.01)
    if policy == "mixed_float16":
        # Small enough that no step is skipped.
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer, initial_scale=128.0)
    model.compile(optimizer=optimizer)
    batch = trainable.features, trainable.labels
    return [float(model.train_step(batch)["total_loss"]) for _ in range(steps)]


def outputs(model: ScoringModel, trainable: TrainableModel) -> list[tf.Tensor]:
    return tf.nest.flatten(model(trainable.features))


@every_model
def test_every_model_trains(name: str, policy: str) -> None:
    with precision(policy):
        trainable = trainable_model(name)
    before = [weight.numpy() for weight in trainable.model.trainable_weights]
    losses = train(trainable, policy)
    assert np.isfinite(losses).all(), losses
    assert len(set(losses)) == 3, losses
    moved = 0
    for weight, start in zip(trainable.model.trainable_weights, before, strict=True):
        assert weight.dtype == tf.float32, weight.name
        assert np.isfinite(weight.numpy()).all(), weight.name
        moved += bool((weight.numpy() != start).any())
    assert moved > 0.9 * len(before)
    for output in outputs(trainable.model, trainable):
        assert output.dtype == tf.float32
    if trainable.model.kind != "retrieval":
        assert trainable.model.probabilities(trainable.features).dtype == tf.float32


@pytest.mark.parametrize("policy", POLICIES)
def test_prepared_features_are_those_of_float32(policy: str) -> None:
    options = {"match": "ridge", "prior": True, "with_profiles": True, "history_knowledge": True}
    exact = trainable_model("din", dropout=False, **options)
    with precision(policy):
        mixed = trainable_model("din", dropout=False, **options)
    assert exact.features.keys() == mixed.features.keys()
    assert mixed.features["match"].shape[1] > 0
    for name, values in exact.features.items():
        assert mixed.features[name].dtype == values.dtype
        assert values.dtype not in FLOATS or values.dtype == tf.float32
        np.testing.assert_array_equal(mixed.features[name], values, err_msg=name)


@pytest.mark.parametrize(
    "name",
    ["din", *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES if name != "din")],
)
def test_a_mixed_model_scores_alike_when_it_is_built_again_in_float32(
    name: str, tmp_path: Path
) -> None:
    with precision("mixed_bfloat16"):
        mixed = trainable_model(name)
    train(mixed, "mixed_bfloat16", steps=5)
    path = tf.train.Checkpoint(**mixed.model.checkpoint_parts()).write(str(tmp_path / "weights"))
    again = trainable_model(name)
    status = tf.train.Checkpoint(**again.model.checkpoint_parts()).read(path)
    status.assert_existing_objects_matched()
    if mixed.model.kind == "retrieval":
        pairs = zip(outputs(mixed.model, mixed), outputs(again.model, again), strict=True)
        tolerance = 2e-2
    else:
        models = (mixed, again)
        pairs = [tuple(each.model.probabilities(each.features) for each in models)]
        tolerance = 1e-2
    for mixed_value, float32_value in pairs:
        assert mixed_value.dtype == float32_value.dtype == tf.float32
        np.testing.assert_allclose(mixed_value, float32_value, atol=tolerance)
    # They are not the same computation.
    assert np.abs(mixed_value - float32_value).max() > 0
