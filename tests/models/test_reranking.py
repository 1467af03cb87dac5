from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.assembly import InputAssembly
from models.layer_support import precision
from models.losses import LIST_LOSSES
from models.rerankers import RERANKERS
from models.reranking import ListScorer, RerankingModel
from tests.models.builders import Tensors, sigmoid
from tests.models.network_contract import (
    assert_every_weight_has_a_gradient,
    assert_train_steps_lower_the_loss,
    weights_kept,
)
from tests.models.raw_lists import LABELS, LISTS, SIZE, raw_lists, small_reranking_model

ARMS: list[dict[str, Any]] = [
    {"backbone": "dlcm", "adapter": "none", "match": "none"},
    {"backbone": "prm", "adapter": "hein", "match": "none"},
    {"backbone": "setrank", "history_knowledge": True, "zero_start": True, "with_profiles": True},
    {"backbone": "mir", "sources": ("item", "plot", "user"), "factor_gate": True},
]


@pytest.fixture(params=ARMS, ids=lambda arm: arm["backbone"], scope="module")
def arm(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


@pytest.fixture(scope="module")
def model(arm: dict[str, Any]) -> RerankingModel:
    """A model whose weights every test leaves as they were."""
    return small_reranking_model(**arm)


def real(raw: Tensors) -> np.ndarray:
    return raw["item_id"].numpy() != b""


def assert_equal_where_real(scores: tf.Tensor, expected: tf.Tensor, mask: np.ndarray) -> None:
    np.testing.assert_allclose(np.array(scores)[mask], np.array(expected)[mask], atol=1e-5)


def test_raw_and_prepared_features_give_the_same_logits(model: RerankingModel) -> None:
    raw = raw_lists()
    logits = model(raw)
    assert logits.shape == (LISTS, SIZE)
    assert np.ptp(logits.numpy()[real(raw)]) > 1e-2
    np.testing.assert_allclose(model(model.inputs_preparation(raw)), logits, atol=1e-6)


def test_probabilities_are_0_on_padding(model: RerankingModel) -> None:
    raw = raw_lists()
    expected = np.where(real(raw), sigmoid(model(raw).numpy()), 0)
    np.testing.assert_allclose(model.probabilities(raw), expected, atol=1e-6)


def test_probabilities_of_a_listwise_model_share_the_list() -> None:
    raw = raw_lists()
    shares = small_reranking_model(list_loss="listwise").probabilities(raw).numpy()
    np.testing.assert_allclose(shares.sum(axis=1), np.ones(LISTS), atol=1e-6)
    np.testing.assert_array_equal(shares[~real(raw)], np.zeros((~real(raw)).sum()))
    logits = small_reranking_model()(raw).numpy()
    np.testing.assert_array_equal(shares[0].argsort(), logits[0].argsort())


def test_a_batch_of_1_equals_its_list_in_a_batch(model: RerankingModel) -> None:
    raw = raw_lists()
    together = model(raw)
    for row in range(LISTS):
        one = {name: value[row : row + 1] for name, value in raw.items()}
        assert_equal_where_real(model(one), together[row : row + 1], real(one))


def test_padding_changes_nothing(model: RerankingModel) -> None:
    raw = raw_lists()
    padding = tf.fill([LISTS, 2], "")
    padded = raw | {
        "item_id": tf.concat([raw["item_id"], padding], axis=1),
        "history_item_id": tf.concat([raw["history_item_id"], padding], axis=1),
        "history_rating": tf.concat([raw["history_rating"], tf.fill([LISTS, 2], 9.0)], axis=1),
    }
    assert_equal_where_real(model(padded)[:, :SIZE], model(raw), real(raw))
    np.testing.assert_array_equal(model.probabilities(padded)[:, SIZE:], np.zeros([LISTS, 2]))


def test_a_list_of_padding_and_an_empty_history(model: RerankingModel) -> None:
    raw = raw_lists(length=0)
    assert np.isfinite(model(raw)).all()
    nothing = raw | {"item_id": tf.fill([LISTS, SIZE], "")}
    np.testing.assert_array_equal(model.probabilities(nothing), np.zeros([LISTS, SIZE]))
    assert np.isfinite(model.compute_loss((nothing, tf.zeros([LISTS, SIZE]))))


@pytest.mark.parametrize("list_loss", LIST_LOSSES)
def test_the_loss_is_that_of_real_candidates(list_loss: str) -> None:
    model, raw = small_reranking_model(list_loss=list_loss), raw_lists()
    expected = LIST_LOSSES[list_loss](model(raw), LABELS, real(raw))
    np.testing.assert_allclose(model.compute_loss((raw, LABELS)), expected, rtol=1e-6)
    padded = np.where(real(raw), LABELS, 1)
    np.testing.assert_allclose(model.compute_loss((raw, padded)), expected, rtol=1e-6)


def test_every_trainable_weight_gets_a_gradient(model: RerankingModel) -> None:
    raw = raw_lists()
    with weights_kept(model):
        assert_every_weight_has_a_gradient(
            lambda: model.compute_loss((raw, LABELS), training=True), model.trainable_weights
        )


@pytest.mark.parametrize("list_loss", LIST_LOSSES)
def test_training_lowers_the_loss(list_loss: str) -> None:
    model, batch = small_reranking_model(list_loss=list_loss), (raw_lists(), LABELS)
    assert_train_steps_lower_the_loss(model, batch, steps=40, share=0.7)


def test_knowledge_of_other_candidates_and_of_the_user_changes_a_score() -> None:
    model, raw = small_reranking_model(), raw_lists()
    own = {"user_id": tf.constant(["ann"] * LISTS)}
    known, missing = model(raw | own), model(raw | {"user_id": tf.constant(["cem"] * LISTS)})
    assert abs(float((known - missing)[0, 0])) > 1e-4
    others = tf.concat([raw["item_id"][:1, :1], [["50", "60", "10"]]], axis=1)
    other = model(raw | {"item_id": tf.concat([others, raw["item_id"][1:]], axis=0)})
    assert abs(float((model(raw) - other)[0, 0])) > 1e-4


def test_match_features_enter_standardised_through_a_linear_term() -> None:
    inputs = small_reranking_model().inputs_preparation
    items = small_reranking_model().scorer.assembly.items
    assembly = InputAssembly(items, num_match_features=2, positive_rating=4.0)
    model = RerankingModel(inputs, ListScorer(assembly, RERANKERS["prm"](top_units=(6, 5))))
    prepared = inputs(raw_lists())
    match = np.random.default_rng(0).normal(size=[LISTS, SIZE, 2]).astype(np.float32)
    prepared |= {"match": tf.constant(match)}
    untrained = model(prepared)
    model.set_match_statistics(tf.constant([0.5, -1.0]), tf.constant([2.0, 0.01]))
    expected = np.clip((match - [0.5, -1.0]) / [2.0, 0.01], -5, 5)
    assert (np.abs(expected[..., 1]) == 5).mean() > 0.5
    term = model.scorer._match_term
    np.testing.assert_array_equal(term.get_weights()[0], np.zeros([2, 1]))
    without = model(prepared)
    assert np.abs(without - untrained).max() > 1e-4
    for feature in range(2):
        term.set_weights([np.eye(2)[:, [feature]]])
        np.testing.assert_allclose(model(prepared) - without, expected[..., feature], atol=1e-4)


@pytest.mark.slow
def test_graph_and_saved_model_equal_eager(model: RerankingModel, tmp_path: Path) -> None:
    raw = raw_lists()
    module = tf.Module()
    module.parts = (model.checkpoint_parts(), model.inputs_preparation)
    specifications = {
        name: tf.TensorSpec([None] * value.shape.rank, value.dtype) for name, value in raw.items()
    }
    module.score = tf.function(
        model.probabilities, input_signature=[specifications], autograph=False
    )
    expected = model.probabilities(raw)
    np.testing.assert_allclose(module.score(raw), expected, atol=1e-5)
    tf.saved_model.save(module, str(tmp_path))
    reloaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(reloaded.score(raw), expected, atol=1e-5)
    shorter = raw | {"item_id": raw["item_id"][:, :1]}
    np.testing.assert_allclose(reloaded.score(shorter), model.probabilities(shorter), atol=1e-5)


def test_mixed_precision_stays_close() -> None:
    raw = raw_lists()
    exact = small_reranking_model()
    with precision("mixed_bfloat16"):
        mixed = small_reranking_model()
        mixed.set_weights(exact.get_weights())
        logits = mixed(raw)
    assert logits.dtype == tf.float32
    deviation = np.abs(logits - exact(raw))[real(raw)].max()
    assert 0 < deviation < 0.05 * max(1.0, np.ptp(exact(raw)))


def test_the_model_shows_its_kind_and_parts() -> None:
    model = small_reranking_model()
    assert model.kind == "rerank"
    assert set(model.checkpoint_parts()) == {"scorer", "adapter"}
    assert set(small_reranking_model(adapter="none").checkpoint_parts()) == {"scorer"}
    gated = small_reranking_model(sources=("item", "plot", "user"), factor_gate=True)
    weights = gated.factor_weights(raw_lists())
    assert {entity: tuple(entity_weights.shape) for entity, entity_weights in weights.items()} == {
        "item": (LISTS, SIZE, 2)
    }


def test_the_loss_must_be_known() -> None:
    model = small_reranking_model()
    with pytest.raises(ValueError, match="one of .*pointwise.*list_loss='pairwise'"):
        RerankingModel(model.inputs_preparation, model.scorer, model.adapter, "pairwise")


def test_class_weights_are_those_of_the_pointwise_loss() -> None:
    model, raw = small_reranking_model(), raw_lists()
    weighted = RerankingModel(
        model.inputs_preparation, model.scorer, model.adapter, class_weights=(0.5, 3.0)
    )
    expected = LIST_LOSSES["pointwise"](model(raw), LABELS, real(raw), (0.5, 3.0))
    np.testing.assert_allclose(weighted.compute_loss((raw, LABELS)), expected, rtol=1e-6)
    np.testing.assert_array_equal(weighted.loss_count((raw, LABELS)), real(raw).sum())


def test_a_lists_softmax_has_no_class_weights() -> None:
    model = small_reranking_model()
    with pytest.raises(ValueError, match="for list_loss pointwise.*'listwise'"):
        RerankingModel(
            model.inputs_preparation, model.scorer, model.adapter, "listwise", (1.0, 2.0)
        )
