from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.augmentation import Augmented
from models.scoring_model import ScoringModel
from tests.models.builders import raw_features, small_model

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


def test_match_statistics_standardise_the_scorers_match_features() -> None:
    model = small_model(adapter="none", match="means")
    width = model.inputs_preparation.num_match_features
    mean, deviation = np.linspace(-1, 1, width), np.linspace(1, 3, width)
    model.set_match_statistics(tf.constant(mean, tf.float32), tf.constant(deviation, tf.float32))
    prepared = model.prepared(raw_features(6))
    _, match = model.scorer.assembly(prepared, Augmented())
    expected = np.clip((prepared["match"].numpy() - mean) / deviation, -5, 5)
    np.testing.assert_allclose(match, np.nan_to_num(expected), atol=1e-5)


def test_factor_weights_are_shares_of_an_entitys_sources() -> None:
    model = small_model(factor_gate=True, sources=("item", "plot", "user"))
    weights = model.factor_weights(raw_features(5))
    assert set(weights) == {"item"}
    assert weights["item"].shape == (5, 2)
    np.testing.assert_allclose(weights["item"].numpy().sum(axis=1), 1, atol=1e-6)
    assert np.ptp(weights["item"].numpy()) > 1e-3
    assert small_model().factor_weights(raw_features(5)) == {}
