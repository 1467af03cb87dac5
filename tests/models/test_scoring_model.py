from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.scoring_model import ScoringModel
from tests.models.builders import gradients_of, raw_features, small_model
from tests.models.trainable import trainable_model

LEARNED = {"learned": True, "dimension": 4, "history_length": 5, "sources": ["item"]}


def weights_below(parts: Mapping[str, tf.Module]) -> set[int]:
    return {id(weight) for part in parts.values() for weight in part.trainable_variables}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"adapter": "none"}, {"scorer"}),
        ({}, {"scorer", "adapter"}),
        (
            {"match": "ridge", "knowledge_match": LEARNED},
            {"scorer", "adapter", "learned_match"},
        ),
    ],
)
def test_a_checkpoint_holds_every_trained_weight(options: dict[str, Any], names: set[str]) -> None:
    model = small_model(**options)
    assert isinstance(model, ScoringModel)
    parts = model.checkpoint_parts()
    assert set(parts) == names
    assert {id(weight) for weight in model.trainable_weights} == weights_below(parts)


def test_prepared_features_are_taken_as_they_are() -> None:
    model = small_model(match="means")
    prepared = model.prepared(raw_features(3))
    again = model.prepared(prepared)
    assert again.keys() == prepared.keys()
    assert all(again[name] is prepared[name] for name in prepared)


def test_learned_match_is_computed_with_the_present_kernel() -> None:
    model = small_model(match="ridge", knowledge_match=LEARNED)
    raw = raw_features(12)
    before_match = model.inputs_preparation(raw)
    assert "match" not in before_match
    first = model.prepared(before_match)["match"].numpy()
    # An item without knowledge has features of NaN.
    assert np.nanstd(first) > 1e-3
    for weight in model.learned_match.trainable_variables:
        weight.assign(weight + 0.5)
    changed = model.prepared(before_match)["match"].numpy()
    assert np.nanmax(np.abs(changed - first)) > 1e-3


def test_factor_weights_are_shares_of_an_entitys_sources() -> None:
    model = small_model(factor_gate=True, sources=("item", "plot", "user"))
    weights = model.factor_weights(raw_features(5))
    assert set(weights) == {"item"}
    assert weights["item"].shape == (5, 2)
    np.testing.assert_allclose(weights["item"].numpy().sum(axis=1), 1, atol=1e-6)
    assert np.ptp(weights["item"].numpy()) > 1e-3
    for options in ({}, {"sources": ("item", "plot")}):
        assert small_model(**options).factor_weights(raw_features(5)) == {}


def test_a_step_is_that_of_the_reported_losses() -> None:
    rate = 0.5
    trainable = trainable_model("wide_deep", dropout=False)
    model, batch = trainable.model, (trainable.features, trainable.labels)
    model.scorer.assembly.items.id_regularization = 0.5
    weights = model.trainable_weights
    gradients = gradients_of(
        lambda: model.compute_loss(batch, training=True) + tf.add_n(model.losses), weights
    )
    before = [weight.numpy() for weight in weights]
    model.compile(optimizer=tf.keras.optimizers.SGD(rate))
    expected = model.test_step(batch)
    losses = model.train_step(batch)
    assert set(losses) == {"loss", "regularization_loss", "total_loss"}
    assert losses["regularization_loss"] > 0
    np.testing.assert_allclose(
        losses["total_loss"], losses["loss"] + losses["regularization_loss"], rtol=1e-6
    )
    for weight, start, gradient in zip(weights, before, gradients, strict=True):
        np.testing.assert_allclose(weight, start - rate * gradient, atol=1e-5)
    # Regularisation of ids is there in both, the contrastive loss in training only.
    assert 0 < expected["regularization_loss"] < losses["regularization_loss"]


def test_scaled_losses_make_the_same_step_and_are_reported_as_they_are() -> None:
    trained = []
    for scaled in (False, True):
        trainable = trainable_model("wide_deep", dropout=False)
        model, batch = trainable.model, (trainable.features, trainable.labels)
        optimizer = tf.keras.optimizers.SGD(0.5)
        if scaled:
            optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer, initial_scale=1024.0)
        model.compile(optimizer=optimizer)
        losses = [float(model.train_step(batch)["total_loss"]) for _ in range(2)]
        trained.append([*model.get_weights(), np.array(losses)])
    for weight, expected in zip(*trained, strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-5)
