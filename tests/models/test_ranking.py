from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs
from sklearn.metrics import log_loss

from models.backbones import BACKBONES
from models.building import build_model
from models.layer_support import precision
from models.ranking import RankingModel
from tests.models.builders import (
    Tensors,
    model_tables,
    raw_features,
    repeated_user,
    small_model,
    small_scenario,
)
from tests.models.network_contract import (
    all_but_last_slow,
    assert_every_weight_has_a_gradient,
    assert_train_steps_lower_the_loss,
    no_table_moves,
    weights_kept,
)

COUNT = 12
ARMS: list[dict[str, Any]] = [
    {"backbone": "din", "adapter": "none", "match": "none"},
    {"backbone": "din", "adapter": "hein", "match": "ridge"},
    {"backbone": "dcnv2", "adapter": "hein", "match": "means"},
    {"history_knowledge": True, "zero_start": True, "with_profiles": True},
    {
        "factor_gate": True,
        "sources": ("item", "plot", "user"),
        "history_knowledge": True,
        "seed": 4,
    },
    {"match": "ridge", "knowledge_match": {"learned": True, "dimension": 4, "history_length": 5}},
    {"backbone": "deepfm", "zero_start": True, "with_profiles": True, "prior": True},
]
LABELS = tf.constant([0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1], tf.float32)


@pytest.fixture(params=ARMS, ids=lambda arm: "-".join(map(str, arm)), scope="module")
def arm(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


@pytest.fixture(scope="module")
def model(arm: dict[str, Any]) -> RankingModel:
    """A model whose weights every test leaves as they were."""
    return small_model(**arm)


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


# That a backbone takes one user for many candidates is tried beside the backbones as well.
@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_has_the_rank_form(backbone: str) -> None:
    model = small_model(backbone=backbone, match="means", with_profiles=True)
    assert_rank_form_equals_aligned_rows(model)


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
    rank = tf.function(model.probabilities, input_signature=[specifications], autograph=False)
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


def test_every_trainable_weight_learns_and_no_table_moves(model: RankingModel) -> None:
    batch = raw_features(COUNT), LABELS
    with weights_kept(model), no_table_moves(model):
        assert_every_weight_has_a_gradient(
            lambda: model.compute_loss(batch, training=True), model.trainable_weights
        )
        assert_train_steps_lower_the_loss(model, batch, steps=1, share=1.0, in_graph=False)


@pytest.mark.parametrize("options", all_but_last_slow(ARMS))
def test_training_in_a_graph_fits_a_batch_and_moves_no_table(options: dict[str, Any]) -> None:
    model, batch = small_model(**options), (raw_features(COUNT), LABELS)
    with no_table_moves(model):
        assert_train_steps_lower_the_loss(model, batch, steps=30, share=0.7)


def test_knowledge_changes_the_score() -> None:
    model, raw = small_model(), raw_features(1)
    known = model(raw | {"user_id": tf.constant(["ann"])})
    missing = model(raw | {"user_id": tf.constant(["cem"])})
    unseen = model(raw | {"user_id": tf.constant(["stranger"])})
    assert abs(float((known - missing)[0])) > 1e-4
    np.testing.assert_array_equal(missing, unseen)


def test_match_starts_without_a_linear_term() -> None:
    scenario = small_scenario(match="means")
    model = build_model(scenario, model_tables())
    model(raw_features(2))
    (weights,) = model.scorer._match_terms[0].get_weights()
    np.testing.assert_array_equal(weights, np.zeros([6, 1]))


@pytest.mark.parametrize("kind", ["means", "ridge"])
def test_match_is_standardised_and_clipped(kind: str) -> None:
    model = small_model(match=kind)
    prepared = model.inputs_preparation(raw_features(COUNT))
    match = prepared["match"].numpy()
    mean = np.nanmean(match, axis=0)
    # The first feature gets a deviation so small that every other value is clipped.
    deviation = np.nanstd(match, axis=0) * np.array(
        [0.01] + [1.5] * (match.shape[1] - 1), np.float32
    )
    model.set_match_statistics(mean, deviation)
    # Where nothing is known of the candidate the features are 0.
    expected = np.nan_to_num(np.clip((match - mean) / deviation, -5, 5))
    assert np.isnan(match).any(axis=1).sum() >= 1
    assert (np.abs(expected[:, 0]) == 5).sum() > COUNT / 3
    (term,) = model.scorer._match_terms
    for feature in range(match.shape[1]):
        # The logit's difference between weight 1 and weight 0 is what enters the linear term.
        term.set_weights([np.zeros([match.shape[1], 1])])
        without = model(prepared)
        term.set_weights([np.eye(match.shape[1])[:, [feature]]])
        np.testing.assert_allclose(model(prepared) - without, expected[:, feature], atol=1e-4)


def test_a_constant_match_feature_is_left_at_its_scale() -> None:
    model = small_model(match="ridge")
    model.set_match_statistics(tf.constant([0.5, 1.0]), tf.constant([0.0, 2.0]))
    prepared = model.inputs_preparation(raw_features(3)) | {"match": tf.constant([[1.5, 5.0]] * 3)}
    (term,) = model.scorer._match_terms
    term.set_weights([np.zeros([2, 1])])
    without = model(prepared)
    term.set_weights([np.array([[10.0], [1.0]])])
    np.testing.assert_allclose(model(prepared) - without, [12.0] * 3, atol=1e-4)


def test_regularization_of_ids_is_part_of_the_training_loss() -> None:
    scenario = small_scenario(adapter="none")
    training = scenario.training.model_copy(update={"embedding_regularization": 0.5})
    model = build_model(scenario.model_copy(update={"training": training}), model_tables())
    raw = raw_features(COUNT)
    model(raw)
    model.compile(optimizer=tf.keras.optimizers.SGD(0.0))
    metrics = model.train_step((raw, LABELS))
    assert metrics["regularization_loss"] > 0
    np.testing.assert_allclose(
        metrics["total_loss"], metrics["loss"] + metrics["regularization_loss"], rtol=1e-6
    )


def test_further_tasks_have_weighted_losses_and_scores_of_their_own() -> None:
    model, raw = small_model(tasks={"loved": 0.5, "bought": 2.0}), raw_features(COUNT)
    labels = np.random.default_rng(0).integers(0, 2, [COUNT, 3]).astype(np.float32)
    scores = model(raw)
    assert scores.shape == (COUNT, 3)
    assert model.tasks == ("loved", "bought")
    probabilities = {"label": model.probabilities(raw), **model.task_probabilities(raw)}
    expected = 0.0
    for column, (task, weight) in enumerate([("label", 1.0), ("loved", 0.5), ("bought", 2.0)]):
        np.testing.assert_allclose(probabilities[task], tf.sigmoid(scores[:, column]), atol=1e-6)
        own = probabilities[task].numpy().astype(np.float64)
        expected += weight * log_loss(labels[:, column], own)
    np.testing.assert_allclose(model.compute_loss((raw, labels)), expected, rtol=1e-5)
    assert_every_weight_has_a_gradient(
        lambda: model.compute_loss((raw, labels), training=True), model.trainable_weights
    )
    assert small_model().task_probabilities(raw) == {}


def test_a_zero_start_begins_as_the_model_without_knowledge() -> None:
    def logits(adapter: str) -> np.ndarray:
        model = small_model(adapter=adapter, zero_start=True)
        first_layer = model.scorer._backbones[0]._top.layers[0]
        kernel = first_layer.kernel.numpy()
        if adapter == "hein":
            for start in model.scorer.assembly._starts.values():
                start.set_weights([tf.zeros_like(start.weights[0])])
            # Two fields of width 4 come last; the other weights are made those without knowledge.
            without = small_model(adapter="none")
            copy_common_weights(without, model)
            first_layer.kernel.assign(
                np.concatenate([without.scorer._backbones[0]._top.layers[0].kernel, kernel[-8:]])
            )
        return model(raw_features(6)).numpy()

    np.testing.assert_allclose(logits("hein"), logits("none"), atol=1e-6)


def copy_common_weights(source: RankingModel, target: RankingModel) -> None:
    for name in ("_attention", "_logit"):
        layer = getattr(target.scorer._backbones[0], name)
        layer.set_weights(getattr(source.scorer._backbones[0], name).get_weights())
    own, other = target.scorer._backbones[0]._top, source.scorer._backbones[0]._top
    for mine, theirs in zip(own.layers, other.layers, strict=True):
        if mine.weights:
            mine.bias.assign(theirs.bias)
            if mine.kernel.shape == theirs.kernel.shape:
                mine.kernel.assign(theirs.kernel)
    target.scorer.assembly.items.set_weights(source.scorer.assembly.items.get_weights())


def test_alignment_is_part_of_the_training_loss_only() -> None:
    model, raw = small_model(alignment_weight=0.5), raw_features(COUNT)
    model(raw, training=False)
    assert model.losses == []
    model(raw, training=True)
    (loss,) = model.losses
    assert loss > 0


def test_mixed_precision_stays_close(model: RankingModel, arm: dict[str, Any]) -> None:
    raw = raw_features(COUNT)
    with precision("mixed_bfloat16"):
        mixed = small_model(**arm)
        logits = mixed(raw)
        assert logits.dtype == tf.float32
        loss = mixed.compute_loss((raw, LABELS), training=True)
    assert np.isfinite(loss)
    for weight, other in zip(model.trainable_weights, mixed.trainable_weights, strict=True):
        np.testing.assert_array_equal(weight, other)
    expected = model(raw)
    spread = max(1.0, float(np.ptp(expected)))
    np.testing.assert_allclose(logits, expected, atol=0.05 * spread)


class TestRankingLoss:
    @pytest.mark.parametrize("tasks", [{}, {"loved": 0.3, "bought": 1.7}])
    def test_without_class_weights_the_loss_is_the_tasks_bit_for_bit(
        self, tasks: dict[str, float]
    ) -> None:
        model, raw = small_model(tasks=tasks), raw_features(COUNT)
        labels = np.random.default_rng(0).integers(0, 2, [COUNT, 1 + len(tasks)]).astype(np.float32)
        logits = tf.reshape(model(raw), [COUNT, -1])
        task = tfrs.tasks.Ranking(loss=tf.keras.losses.BinaryCrossentropy(from_logits=True))
        expected = tf.add_n(
            [
                weight * task(labels[:, column : column + 1], logits[:, column : column + 1])
                for column, weight in enumerate([1.0, *tasks.values()])
            ]
        )
        for given in (labels, labels if tasks else labels[:, 0]):
            np.testing.assert_array_equal(model.compute_loss((raw, given)), expected)
            np.testing.assert_array_equal(model.loss_count((raw, given)), COUNT)

    def test_class_weights_multiply_losses_and_the_mean_is_over_samples(self) -> None:
        model, raw = small_model(tasks={"loved": 0.5}), raw_features(COUNT)
        weighted = RankingModel(
            model.inputs_preparation, model.scorer, model.adapter, {"loved": 0.5}, (0.5, 3.0)
        )
        labels = np.random.default_rng(0).integers(0, 2, [COUNT, 2]).astype(np.float32)
        logits = model(raw).numpy().astype(np.float64)
        losses = np.where(
            labels > 0, 3.0 * np.log1p(np.exp(-logits)), 0.5 * np.log1p(np.exp(logits))
        )
        expected = losses[:, 0].mean() + 0.5 * losses[:, 1].mean()
        np.testing.assert_allclose(weighted.compute_loss((raw, labels)), expected, rtol=1e-5)
