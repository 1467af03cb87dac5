from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss

from models.backbones import BACKBONES
from models.building import build_ranking_model
from models.ranking import RankingModel
from tests.models.builders import (
    Tensors,
    gradients_of,
    model_tables,
    raw_features,
    repeated_user,
    small_model,
    small_scenario,
)

COUNT = 12
ARMS: list[dict[str, Any]] = [
    {"backbone": "din", "adapter": "none", "match": "none"},
    {"backbone": "din", "adapter": "hein", "match": "ridge"},
    {"backbone": "dcnv2", "adapter": "hein", "match": "means"},
]
LABELS = tf.constant([0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1], tf.float32)


@pytest.fixture(params=ARMS, ids=lambda arm: "-".join(arm.values()))
def model(request: pytest.FixtureRequest) -> RankingModel:
    return small_model(**request.param)


def sample(features: Tensors, row: int) -> Tensors:
    return {name: value[row : row + 1] for name, value in features.items()}


def test_raw_and_prepared_features_give_the_same_logits(model: RankingModel) -> None:
    raw = raw_features(COUNT)
    logits = model(raw)
    assert logits.shape == (COUNT,)
    assert np.ptp(logits) > 1e-2
    np.testing.assert_allclose(model(model.inputs_preparation(raw)), logits, atol=1e-6)
    np.testing.assert_allclose(
        model.probabilities(raw), 1 / (1 + np.exp(-logits.numpy())), atol=1e-6
    )


def test_a_batch_of_1_equals_its_row_in_a_batch(model: RankingModel) -> None:
    raw = raw_features(4)
    together = model(raw)
    for row in range(4):
        alone = model(sample(raw, row))
        assert alone.shape == (1,)
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_one_user_with_many_candidates_equals_aligned_rows(model: RankingModel) -> None:
    assert_rank_form_equals_aligned_rows(model)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_has_the_rank_form(backbone: str) -> None:
    assert_rank_form_equals_aligned_rows(small_model(backbone=backbone, match="means"))


def assert_rank_form_equals_aligned_rows(model: RankingModel) -> None:
    request = raw_features(7, users=1, seed=5)
    expected = model(repeated_user(request))
    np.testing.assert_allclose(model(request), expected, atol=1e-5)
    specifications = {
        name: tf.TensorSpec(
            [None if name == "item_id" else 1, *[None] * (value.shape.rank - 1)], value.dtype
        )
        for name, value in request.items()
    }
    rank = tf.function(model.probabilities, input_signature=[specifications])
    np.testing.assert_allclose(rank(request), tf.sigmoid(expected), atol=1e-5)


def test_a_history_of_length_0_equals_an_empty_one(model: RankingModel) -> None:
    nothing = raw_features(3, length=0)
    empty = nothing | {
        "history_item_id": tf.constant([["", ""]] * 3),
        "history_rating": tf.zeros([3, 2]),
    }
    np.testing.assert_allclose(model(nothing), model(empty), atol=1e-5)
    assert np.isfinite(model(nothing)).all()


def test_padding_changes_nothing(model: RankingModel) -> None:
    raw = raw_features(5)
    padding = tf.fill([5, 2], "")
    padded = raw | {
        "history_item_id": tf.concat([raw["history_item_id"], padding], axis=1),
        "history_rating": tf.concat([raw["history_rating"], tf.fill([5, 2], 9.0)], axis=1),
    }
    np.testing.assert_allclose(model(padded), model(raw), atol=1e-5)


def test_loss_is_the_mean_cross_entropy(model: RankingModel) -> None:
    raw = raw_features(COUNT)
    expected = log_loss(LABELS.numpy(), model.probabilities(raw).numpy().astype(np.float64))
    np.testing.assert_allclose(model.compute_loss((raw, LABELS)), expected, rtol=1e-5)


def test_every_trainable_weight_gets_a_gradient(model: RankingModel) -> None:
    raw = raw_features(COUNT)
    weights = model.trainable_weights
    gradients = gradients_of(lambda: model.compute_loss((raw, LABELS), training=True), weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        assert gradient is not None, weight.name
        assert np.abs(gradient).max() > 0, weight.name


def test_training_lowers_the_loss_and_moves_no_table(model: RankingModel) -> None:
    batch = (raw_features(COUNT), LABELS)
    model.compile(optimizer=tf.keras.optimizers.Adam(0.02))
    moving = {
        id(weight)
        for layer in model.submodules
        if isinstance(layer, tf.keras.layers.BatchNormalization)
        for weight in layer.non_trainable_weights
    }
    frozen = [
        variable
        for variable in model.variables
        if not variable.trainable and id(variable) not in moving
    ]
    before = [variable.numpy() for variable in frozen]
    train_step = tf.function(model.train_step)
    first = train_step(batch)
    for _ in range(30):
        last = train_step(batch)
    assert set(last) >= {"loss", "regularization_loss", "total_loss"}
    assert last["loss"] < 0.7 * first["loss"]
    assert len(frozen) > 5
    for variable, value in zip(frozen, before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.name)


def test_augment_gives_one_vector_for_each_source() -> None:
    prepared = small_model().inputs_preparation(raw_features(4, users=1))
    augmented = small_model().augment(prepared)
    assert {source: vectors.shape for source, vectors in augmented.items()} == {
        "item": (4, 4),
        "user": (1, 4),
    }
    assert small_model(adapter="none").augment(prepared) == {}


def test_knowledge_changes_the_score() -> None:
    model, raw = small_model(), raw_features(1)
    known = model(raw | {"user_id": tf.constant(["ann"])})
    missing = model(raw | {"user_id": tf.constant(["cem"])})
    unseen = model(raw | {"user_id": tf.constant(["stranger"])})
    assert abs(float((known - missing)[0])) > 1e-4
    np.testing.assert_array_equal(missing, unseen)


def test_match_starts_without_a_linear_term() -> None:
    scenario = small_scenario(match="means")
    model = build_ranking_model(scenario, model_tables())
    model(raw_features(2))
    (weights,) = model.scorer._match_term.get_weights()
    np.testing.assert_array_equal(weights, np.zeros([6, 1]))


@pytest.mark.parametrize("kind", ["means", "ridge"])
def test_match_is_standardised_and_clipped(kind: str) -> None:
    model = small_model(match=kind)
    prepared = model.inputs_preparation(raw_features(COUNT))
    match = prepared["match"].numpy()
    mean = match.mean(axis=0)
    # The first feature gets a deviation so small that every other value is clipped.
    deviation = match.std(axis=0) * np.array([0.01] + [1.5] * (match.shape[1] - 1), np.float32)
    model.scorer.set_match_statistics(mean, deviation)
    expected = np.clip((match - mean) / deviation, -5, 5)
    assert (np.abs(expected[:, 0]) == 5).sum() > COUNT / 2
    term = model.scorer._match_term
    for feature in range(match.shape[1]):
        # The logit's difference between weight 1 and weight 0 is what enters the linear term.
        term.set_weights([np.zeros([match.shape[1], 1])])
        without = model(prepared)
        term.set_weights([np.eye(match.shape[1])[:, [feature]]])
        np.testing.assert_allclose(model(prepared) - without, expected[:, feature], atol=1e-4)


def test_a_constant_match_feature_is_left_at_its_scale() -> None:
    model = small_model(match="ridge")
    model.scorer.set_match_statistics(tf.constant([0.5, 1.0]), tf.constant([0.0, 2.0]))
    prepared = model.inputs_preparation(raw_features(3)) | {"match": tf.constant([[1.5, 5.0]] * 3)}
    term = model.scorer._match_term
    term.set_weights([np.zeros([2, 1])])
    without = model(prepared)
    term.set_weights([np.array([[10.0], [1.0]])])
    np.testing.assert_allclose(model(prepared) - without, [12.0] * 3, atol=1e-4)


def test_regularization_of_ids_is_part_of_the_training_loss() -> None:
    scenario = small_scenario(adapter="none")
    training = scenario.training.model_copy(update={"embedding_regularization": 0.5})
    model = build_ranking_model(scenario.model_copy(update={"training": training}), model_tables())
    raw = raw_features(COUNT)
    model(raw)
    model.compile(optimizer=tf.keras.optimizers.SGD(0.0))
    metrics = model.train_step((raw, LABELS))
    assert metrics["regularization_loss"] > 0
    np.testing.assert_allclose(
        metrics["total_loss"], metrics["loss"] + metrics["regularization_loss"], rtol=1e-6
    )
