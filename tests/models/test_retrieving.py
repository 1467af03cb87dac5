from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.retrieving import RetrievalModel
from tests.models.builders import (
    ITEM_IDS,
    NUM_FOLDS,
    Tensors,
    catalogue_contents,
    raw_features,
    repeated_user,
)
from tests.models.network_contract import (
    all_but_last_slow,
    assert_every_weight_has_a_gradient,
    assert_train_steps_lower_the_loss,
    no_table_moves,
    weights_kept,
)
from tests.models.retrieval.models import ARMS, small_retrieval_model

COUNT = 12
COSTLY_ARMS = all_but_last_slow([*(name for name in ARMS if name != "all options"), "all options"])
NUM_ITEMS = len(ITEM_IDS)
TRAINING_COUNTS = [1, 3, 2, 4, 1, 3, 1]
"""Ratings of the rows 0 to 6 of the tiny catalogue, at least one each."""


@pytest.fixture(params=ARMS, scope="module")
def arm(request: pytest.FixtureRequest) -> dict[str, Any]:
    return ARMS[request.param]


@pytest.fixture(scope="module")
def model(arm: dict[str, Any]) -> RetrievalModel:
    """A model whose weights every test leaves as they were."""
    return small_retrieval_model(**arm)


def temperature_of(arm: dict[str, Any]) -> float:
    return arm.get("towers", {}).get("temperature", 0.1)


def sample(features: Tensors, row: int) -> Tensors:
    return {name: value[row : row + 1] for name, value in features.items()}


def numpy_loss(
    users: np.ndarray, items: np.ndarray, rows: np.ndarray, counts: np.ndarray, temperature: float
) -> float:
    """Softmax over the batch sample by sample, with true shares and without repeated items."""
    shares = counts / counts.sum()
    losses = []
    for row in range(len(rows)):
        others = [other for other in range(len(rows)) if other == row or rows[other] != rows[row]]
        logits = items[others] @ users[row] / temperature - np.log(shares[rows[others]])
        own = others.index(row)
        losses.append(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[own])
    return float(np.mean(losses))


def test_the_counts_of_the_oracle_are_those_of_the_catalogue() -> None:
    counts = catalogue_contents().rating_count_by_fold.sum(axis=1)
    np.testing.assert_array_equal(np.maximum([0, *counts], 1), TRAINING_COUNTS)


def test_loss_is_the_corrected_softmax_over_the_batch(
    model: RetrievalModel, arm: dict[str, Any]
) -> None:
    raw = raw_features(COUNT)
    users, items = (vectors.numpy().astype(np.float64) for vectors in model(raw))
    rows = model.inputs_preparation(raw)["item_row"].numpy()
    assert len(set(rows)) < len(rows)
    expected = numpy_loss(users, items, rows, np.array(TRAINING_COUNTS), temperature_of(arm))
    np.testing.assert_allclose(model.compute_loss((raw, None)), expected, rtol=1e-5)
    uncorrected = numpy_loss(users, items, rows, np.ones(7), temperature_of(arm))
    assert abs(expected - uncorrected) > 1e-3


def test_the_loss_is_that_of_tfrs_bit_for_bit(model: RetrievalModel) -> None:
    raw = raw_features(COUNT)
    users, items = model(raw)
    rows = model.inputs_preparation(raw)["item_row"]
    task = tfrs.tasks.Retrieval(
        loss=tf.keras.losses.CategoricalCrossentropy(from_logits=True),
        temperature=model.scorer.towers.temperature,
        remove_accidental_hits=True,
    )
    shares = model._relative_shares(rows)
    expected = task(users, items, candidate_sampling_probability=shares, candidate_ids=rows)
    np.testing.assert_array_equal(model.compute_loss((raw, None)), expected)
    np.testing.assert_array_equal(model.loss_count((raw, None)), COUNT)


def test_a_rare_item_of_a_large_catalogue_is_corrected_in_full() -> None:
    """Its share is 1e-8, below the 1e-6 at which TFRS would cut it off."""
    model = small_retrieval_model()
    log_counts = model.inputs_preparation.catalogue._log_counts
    counts = np.array([1, 1e8, 2e8, 5e7, 1, 1e8, 1])
    log_counts.assign(np.log1p(np.repeat(counts[:, np.newaxis], NUM_FOLDS + 1, axis=1)))
    rebuilt = RetrievalModel(model.inputs_preparation, model.scorer, model.adapter)
    relative = rebuilt._relative_shares(tf.constant([1, 2, 3]))
    np.testing.assert_allclose(relative, [0.5, 1, 0.25], rtol=1e-4)
    np.testing.assert_allclose(rebuilt._relative_shares(tf.constant([4])), [5e-9], rtol=1e-3)


def test_raw_and_prepared_features_give_the_same_vectors(model: RetrievalModel) -> None:
    raw = raw_features(COUNT)
    prepared = model.inputs_preparation(raw)
    for raw_vectors, prepared_vectors in zip(model(raw), model(prepared), strict=True):
        assert raw_vectors.shape == (COUNT, 4)
        assert np.ptp(raw_vectors, axis=0).min() > 1e-2
        np.testing.assert_allclose(prepared_vectors, raw_vectors, atol=1e-6)


def test_towers_alone_give_what_they_give_together(model: RetrievalModel) -> None:
    raw = raw_features(COUNT)
    users, items = model(raw)
    np.testing.assert_allclose(model.user_vectors(raw), users, atol=1e-6)
    rows = model.inputs_preparation(raw)["item_row"]
    np.testing.assert_allclose(model.item_vectors(rows), items, atol=1e-6)


def test_the_user_tower_sees_nothing_of_the_candidate(model: RetrievalModel) -> None:
    raw = raw_features(COUNT)
    without = {name: value for name, value in raw.items() if name != "item_id"}
    expected = model.user_vectors(without)
    for item_id in (*ITEM_IDS, "unseen"):
        other = without | {"item_id": tf.fill([COUNT], item_id)}
        np.testing.assert_array_equal(model.user_vectors(other), expected)
        np.testing.assert_array_equal(model(other)[0], expected)


def test_the_item_tower_sees_nothing_of_the_user(model: RetrievalModel) -> None:
    raw, other = raw_features(COUNT), raw_features(COUNT, seed=9)
    other["item_id"] = raw["item_id"]
    assert not np.allclose(model(other)[0], model(raw)[0], atol=1e-2)
    np.testing.assert_array_equal(model(other)[1], model(raw)[1])


def test_item_numbers_of_training_leave_the_users_own_fold_out() -> None:
    model, raw = small_retrieval_model(), raw_features(COUNT)
    folds = tf.constant([0, 1, 2] * 4)
    _, held_out = model(raw | {"user_fold": folds})
    assert np.abs(held_out - model(raw)[1]).max() > 1e-3
    np.testing.assert_array_equal(
        model.user_vectors(raw | {"user_fold": folds}), model.user_vectors(raw)
    )


@pytest.mark.filterwarnings("ignore:In loss categorical_crossentropy")
def test_a_batch_of_1_equals_its_row_in_a_batch(model: RetrievalModel) -> None:
    raw = raw_features(4)
    users, items = model(raw)
    for row in range(4):
        alone = sample(raw, row)
        user, item = model(alone)
        np.testing.assert_allclose(user, users[row : row + 1], atol=1e-5)
        np.testing.assert_allclose(item, items[row : row + 1], atol=1e-5)
        np.testing.assert_allclose(model.compute_loss((alone, None)), 0.0, atol=1e-6)


def test_one_user_with_many_candidates_has_one_vector(model: RetrievalModel) -> None:
    request = raw_features(7, users=1, seed=5)
    users, items = model(request)
    assert users.shape == (1, 4)
    repeated_users, repeated_items = model(repeated_user(request))
    np.testing.assert_allclose(tf.repeat(users, 7, axis=0), repeated_users, atol=1e-5)
    np.testing.assert_allclose(items, repeated_items, atol=1e-6)


def test_padding_changes_nothing_and_empty_histories_are_finite(model: RetrievalModel) -> None:
    raw = raw_features(5)
    padded = raw | {
        "history_item_id": tf.concat([raw["history_item_id"], tf.fill([5, 2], "")], axis=1),
        "history_rating": tf.concat([raw["history_rating"], tf.fill([5, 2], 9.0)], axis=1),
    }
    np.testing.assert_allclose(model.user_vectors(padded), model.user_vectors(raw), atol=1e-5)
    empty = raw | {
        "history_item_id": tf.fill([5, 3], ""),
        "history_rating": tf.zeros([5, 3]),
    }
    nothing = raw | {
        "history_item_id": tf.zeros([5, 0], tf.string),
        "history_rating": tf.zeros([5, 0]),
    }
    assert np.isfinite(model.user_vectors(empty)).all()
    np.testing.assert_allclose(model.user_vectors(empty), model.user_vectors(nothing), atol=1e-5)
    assert np.isfinite(model.compute_loss((nothing, None)))


def test_knowledge_and_attributes_tell_new_items_apart() -> None:
    model = small_retrieval_model()
    catalogue = model.inputs_preparation.catalogue
    new = [row for row in range(1, NUM_ITEMS + 1) if catalogue.embedding_rows[row] == 0]
    assert [ITEM_IDS[row - 1] for row in new] == ["40", "60"]
    vectors = model.item_vectors(tf.constant(new)).numpy()
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-2
    assert model.adapter is not None
    knowledge = model.adapter.tables["item"]._vectors
    knowledge.assign(tf.zeros_like(knowledge))
    changed = np.abs(model.item_vectors(tf.constant(new)).numpy() - vectors).max(axis=1)
    # Item 60 has no knowledge, so it keeps the default vector.
    assert changed[0] > 1e-3
    assert changed[1] == 0


def test_every_trainable_weight_learns_and_no_table_moves(model: RetrievalModel) -> None:
    batch = raw_features(24), None

    def loss() -> tf.Tensor:
        return model.compute_loss(batch, training=True) + tf.add_n([0.0, *model.losses])

    with weights_kept(model), no_table_moves(model):
        assert_every_weight_has_a_gradient(loss, model.trainable_weights, above=1e-7)
        assert_train_steps_lower_the_loss(model, batch, steps=1, share=1.0, in_graph=False)


@pytest.mark.parametrize("name", COSTLY_ARMS)
def test_training_in_a_graph_fits_a_batch_and_moves_no_table(name: str) -> None:
    model, batch = small_retrieval_model(**ARMS[name]), (raw_features(24), None)
    with no_table_moves(model):
        assert_train_steps_lower_the_loss(model, batch, steps=40, share=0.8)


def test_checkpoints_restore_all_vectors(
    model: RetrievalModel, arm: dict[str, Any], tmp_path: Path
) -> None:
    raw = raw_features(COUNT)
    model.save_weights(tmp_path / "weights")
    again = small_retrieval_model(**arm, seed=5)
    assert not np.allclose(again(raw)[0], model(raw)[0], atol=1e-2)
    again.load_weights(tmp_path / "weights").assert_existing_objects_matched()
    for restored, expected in zip(again(raw), model(raw), strict=True):
        np.testing.assert_allclose(restored, expected, atol=1e-6)


class Towers(tf.Module):
    """Both towers as an export would have them."""

    def __init__(self, model: RetrievalModel, raw: Tensors):
        super().__init__()
        self.parts = (model.checkpoint_parts(), model.inputs_preparation)
        specifications = {
            name: tf.TensorSpec([None] * value.shape.rank, value.dtype)
            for name, value in raw.items()
            if name != "item_id"
        }
        self.user = tf.function(
            model.user_vectors, input_signature=[specifications], autograph=False
        )
        self.item = tf.function(
            model.item_vectors, input_signature=[tf.TensorSpec([None], tf.int32)], autograph=False
        )


@pytest.mark.parametrize("name", COSTLY_ARMS)
def test_both_towers_survive_a_saved_model(name: str, tmp_path: Path) -> None:
    model, raw = small_retrieval_model(**ARMS[name]), raw_features(COUNT)
    users = {name: value for name, value in raw.items() if name != "item_id"}
    towers = Towers(model, raw)
    tf.saved_model.save(towers, str(tmp_path))
    again = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(again.user(users), model.user_vectors(raw), atol=1e-6)
    rows = tf.range(NUM_ITEMS + 1)
    np.testing.assert_allclose(again.item(rows), model.item_vectors(rows), atol=1e-6)


def test_there_are_no_match_statistics_to_set() -> None:
    model = small_retrieval_model()
    model.set_match_statistics(tf.zeros([0]), tf.zeros([0]))
    with pytest.raises(ValueError):
        model.set_match_statistics(tf.zeros([2]), tf.ones([2]))


def test_knowledge_match_is_refused() -> None:
    model = small_retrieval_model()
    model.inputs_preparation.num_match_features = 2
    with pytest.raises(ValueError, match=r"set model\.match to none"):
        RetrievalModel(model.inputs_preparation, model.scorer)


def test_a_checkpoint_holds_scorer_and_adapter() -> None:
    assert set(small_retrieval_model().checkpoint_parts()) == {"scorer", "adapter"}
    assert set(small_retrieval_model(adapter="none").checkpoint_parts()) == {"scorer"}
