from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from configs.model import Prior
from models.catalogue import Catalogue
from models.inputs import (
    InputPreparation,
    history_knowledge_row_key,
    knowledge_row_key,
    match_features,
)
from models.knowledge import EntityIndex
from models.match import MATCH_KINDS, KnowledgeMatch, KnowledgeMatches
from models.prior import KnowledgePrior
from tests.models.builders import (
    POSITIVE_RATING,
    Tensors,
    catalogue_contents,
    raw_features,
    repeated_user,
)

MU = 35 / 12
# Catalogue rows 0..6 -> knowledge rows; item 60 (row 6) has no knowledge.
KNOWLEDGE_ROWS = np.array([0, 3, 1, 2, 5, 4, 0])


def preparation(kind: str | None = "means", **options: Any) -> InputPreparation:
    table = np.random.default_rng(0).normal(size=[6, 4])
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    table[0] = 0
    arguments: dict[str, Any] = {
        "catalogue": Catalogue(catalogue_contents()),
        "item_knowledge_rows": {"item": KNOWLEDGE_ROWS},
        "user_knowledge_index": {"user": EntityIndex(["ann", "bob"], np.array([1, 2]))},
        "attention_history_length": 3,
        "positive_rating": POSITIVE_RATING,
        "matches": None if kind is None else matches(kind, table.astype(np.float32)),
        "match_history_length": 5,
    }
    return InputPreparation(**(arguments | options))


def matches(kind: str, table: np.ndarray, **options: Any) -> KnowledgeMatches:
    match = KnowledgeMatch(kind, table, **options)
    return KnowledgeMatches({"item": match}, {"item": KNOWLEDGE_ROWS})


def one_request(history: list[str], ratings: list[float], **features: Any) -> Tensors:
    request = {
        "user_id": ["ann"],
        "item_id": ["20"],
        "user_share_liked": [0.25],
        "user_mean_rating": [3.5],
        "user_log_count": [1.5],
    } | features
    return {
        **{name: tf.constant(value) for name, value in request.items()},
        "history_item_id": tf.constant([history]),
        "history_rating": tf.constant([ratings], tf.float32),
    }


def assert_equal(left: Tensors, right: Tensors, atol: float = 1e-6) -> None:
    assert sorted(left) == sorted(right)
    for name in left:
        np.testing.assert_allclose(left[name], right[name], atol=atol, err_msg=name)


def test_ids_become_rows_and_numbers_are_laid_side_by_side() -> None:
    prepared = preparation(None)(one_request(["10", "unseen", "60"], [4.5, 2.0, 1.0]))
    np.testing.assert_array_equal(prepared["item_row"], [2])
    np.testing.assert_array_equal(prepared["history_row"], [[1, 0, 6]])
    np.testing.assert_array_equal(prepared["history_rating"], [[4.5, 2, 1]])
    # An unknown item is an interaction all the same.
    np.testing.assert_array_equal(prepared["history_mask"], [[True, True, True]])
    np.testing.assert_array_equal(prepared[knowledge_row_key("item")], [1])
    np.testing.assert_array_equal(prepared[knowledge_row_key("user")], [1])
    expected = [0.25, 3.5 - MU, 1.5, (7 + 5 * MU) / 7 - MU, np.log(3), 0.5, 0]
    np.testing.assert_allclose(prepared["numeric"], [expected], atol=1e-6)
    assert prepared["match"].shape == (1, 0)


def test_unknown_items_and_users_have_row_0() -> None:
    request = one_request(["10"], [4.0], item_id=["unseen"], user_id=["stranger"])
    prepared = preparation(None)(request)
    for name in ("item_row", knowledge_row_key("item"), knowledge_row_key("user")):
        np.testing.assert_array_equal(prepared[name], [0], err_msg=name)
    np.testing.assert_allclose(prepared["numeric"][0, 3:], [0, 0, 0, 1], atol=1e-6)


def test_a_user_without_history_has_no_mean_to_centre() -> None:
    request = one_request(
        ["", ""], [0.0, 0.0], user_share_liked=[0.0], user_mean_rating=[0.0], user_log_count=[0.0]
    )
    np.testing.assert_array_equal(preparation(None)(request)["numeric"][0, :3], [0, 0, 0])


def test_a_share_that_is_not_known_is_counted_in_the_history() -> None:
    ids, ratings = ["10", "", "20", "50"], [4.0, 5.0, 1.0, 4.5]  # liked from 4 on; one is padding
    unknown = preparation(None)(one_request(ids, ratings, user_share_liked=[float("nan")]))
    known = preparation(None)(one_request(ids, ratings, user_share_liked=[2 / 3]))
    assert_equal(unknown, known)
    nothing = preparation(None)(one_request([""], [0.0], user_share_liked=[float("nan")]))
    np.testing.assert_array_equal(nothing["numeric"][0, 0], 0)


def test_implicit_feedback_needs_no_ratings() -> None:
    rated = one_request(
        ["10", "", "20"], [1.0, 0.0, 1.0], user_share_liked=[1.0], user_mean_rating=[1.0]
    )
    names = ("history_rating", "user_share_liked", "user_mean_rating")
    plain = {name: value for name, value in rated.items() if name not in names}
    implicit = preparation(has_ratings=False, positive_rating=1.0)
    assert_equal(implicit(plain), preparation(positive_rating=1.0)(rated))
    nobody = {**plain, "history_item_id": tf.constant([[""]]), "user_log_count": tf.zeros([1])}
    np.testing.assert_array_equal(implicit(nobody)["numeric"][0, :3], [0, 0, 0])


@pytest.mark.parametrize("kind", MATCH_KINDS)
@pytest.mark.parametrize(
    ("ids", "ratings"),
    [
        (["10", "20", "50", ""], [5.0, 1.0, 4.0, 0.0]),
        (["10", "", "20", "50"], [5.0, 0.0, 1.0, 4.0]),
        (["", "10", "20", "", "50", ""], [0.0, 5.0, 1.0, 0.0, 4.0, 0.0]),
        (["10", "20", "50"], [5.0, 1.0, 4.0]),
    ],
)
def test_padding_may_be_anywhere(kind: str, ids: list[str], ratings: list[float]) -> None:
    prepare = preparation(kind)
    assert_equal(
        prepare(one_request(ids, ratings)),
        prepare(one_request(["", "10", "20", "50"], [0.0, 5.0, 1.0, 4.0])),
    )


def test_rows_of_a_batch_are_padded_on_their_own() -> None:
    requests = [
        one_request(["", "10", "", "20"], [0.0, 5.0, 0.0, 1.0]),
        one_request(["30", "", "", "40"], [2.0, 0.0, 0.0, 3.0]),
        one_request(["", "", "", ""], [0.0, 0.0, 0.0, 0.0]),
    ]
    together = {name: tf.concat([r[name] for r in requests], axis=0) for name in requests[0]}
    prepare = preparation()
    alone = [prepare(request) for request in requests]
    stacked = {name: tf.concat([part[name] for part in alone], axis=0) for name in alone[0]}
    assert_equal(prepare(together), stacked)


def test_attention_sees_the_newest_interactions() -> None:
    prepared = preparation(None)(
        one_request(["10", "20", "", "30", "40", "50", ""], [1.0, 2.0, 0.0, 3.0, 4.0, 5.0, 0.0])
    )
    np.testing.assert_array_equal(prepared["history_row"], [[3, 4, 5]])
    np.testing.assert_array_equal(prepared["history_rating"], [[3, 4, 5]])
    np.testing.assert_array_equal(prepared["history_mask"], [[True] * 3])


@pytest.mark.parametrize("kind", MATCH_KINDS)
def test_match_sees_a_length_of_its_own(kind: str) -> None:
    prepare = preparation(kind)
    newest, ratings = ["20", "30", "40", "50", "20"], [2.0, 5.0, 4.0, 1.0, 3.0]
    expected = prepare(one_request(newest, ratings))["match"]
    for oldest in ("10", "50"):
        longer = prepare(one_request([oldest, *newest], [5.0, *ratings]))["match"]
        np.testing.assert_allclose(longer, expected, atol=1e-6)
    shorter = prepare(one_request(newest[1:], ratings[1:]))["match"]
    assert np.abs(shorter - expected).max() > 1e-3


def test_match_compares_ratings_with_the_items_own_means() -> None:
    prepare = preparation("means")
    # One interaction: the kernel-weighted mean residual is that interaction's residual.
    match = prepare(one_request(["10"], [4.0]))["match"][0]
    np.testing.assert_allclose(match[:2], 4 - (13 + 5 * MU) / 8, atol=1e-6)
    assert match[2] != 0
    assert match[3] == 0
    disliked = prepare(one_request(["10"], [3.5]))["match"][0]
    np.testing.assert_allclose([disliked[3], disliked[2]], [match[2], 0], atol=1e-6)


def test_a_training_sample_leaves_its_users_ratings_out_of_the_means() -> None:
    prepare = preparation("means")
    request = one_request(["10"], [4.0], item_id=["20"]) | {"user_fold": tf.constant([0])}
    match = prepare(request)["match"][0]
    np.testing.assert_allclose(match[:2], 4 - (13 - 4 + 5 * MU) / 7, atol=1e-5)


@pytest.mark.parametrize("kind", MATCH_KINDS)
def test_one_user_for_many_candidates_equals_the_repeated_user(kind: str) -> None:
    prepare, request = preparation(kind), raw_features(5, users=1)
    shared, repeated = prepare(request), prepare(repeated_user(request))
    assert shared["history_row"].shape == (1, 3)
    for name in shared:
        value = np.broadcast_to(shared[name], repeated[name].shape)
        np.testing.assert_allclose(value, repeated[name], atol=1e-5, err_msg=name)


def test_the_fold_changes_the_candidates_statistics_and_the_residuals_only() -> None:
    prepare, request = preparation(), one_request(["30", "20"], [4.0, 2.0], item_id=["10"])
    without = prepare(request)
    with_fold = prepare({**request, "user_fold": tf.constant([0])})
    numeric, fold_numbers = without.pop("numeric").numpy()[0], with_fold.pop("numeric").numpy()[0]
    match, training_match = without.pop("match").numpy()[0], with_fold.pop("match").numpy()[0]
    assert_equal(without, with_fold)
    # Two features of a match by means are mean residuals, the others are cosines.
    assert np.abs(match[:2] - training_match[:2]).min() > 1e-3
    np.testing.assert_array_equal(match[2:], training_match[2:])
    np.testing.assert_allclose(fold_numbers[3:5], [(5 + 5 * MU) / 6 - MU, np.log(2)], atol=1e-6)
    np.testing.assert_allclose(numeric[3:5], [(13 + 5 * MU) / 8 - MU, np.log(4)], atol=1e-6)
    np.testing.assert_array_equal(np.delete(numeric, [3, 4]), np.delete(fold_numbers, [3, 4]))


@pytest.mark.parametrize("kind", MATCH_KINDS)
def test_a_training_label_cannot_reach_the_match_of_an_item_met_again(kind: str) -> None:
    request = one_request(["10", "20"], [4.0, 2.0], item_id=["10"]) | {
        "user_fold": tf.constant([2])
    }
    features = []
    for label in (5.0, 0.5):
        sums = catalogue_contents().rating_sum_by_fold.copy()
        # The sample's own rating is in its fold's sum. Another item takes up the difference, so
        # that the mean of all ratings stays the same.
        sums[0, 2] += label
        sums[2, 2] -= label
        contents = replace(catalogue_contents(), rating_sum_by_fold=sums)
        features.append(preparation(kind, catalogue=Catalogue(contents))(request)["match"])
    np.testing.assert_allclose(features[0], features[1], atol=1e-6)


@pytest.mark.parametrize("kind", MATCH_KINDS)
def test_a_history_of_length_0_equals_an_empty_one(kind: str) -> None:
    prepare = preparation(kind)
    nothing = raw_features(2, length=0)
    empty = raw_features(2, length=0) | {
        "history_item_id": tf.constant([[""] * 3] * 2),
        "history_rating": tf.zeros([2, 3]),
    }
    assert prepare(nothing)["history_row"].shape == (2, 0)
    for name in ("match", "numeric", "item_row"):
        np.testing.assert_allclose(prepare(nothing)[name], prepare(empty)[name], atol=1e-6)


@pytest.mark.parametrize("users", [1, None])
def test_graph_equals_eager(users: int | None) -> None:
    prepare, request = preparation("ridge"), raw_features(4, users=users or 4)
    specifications = {
        name: tf.TensorSpec(
            [None if name == "item_id" else users, *[None] * (value.shape.rank - 1)], value.dtype
        )
        for name, value in request.items()
    }
    in_graph = tf.function(
        lambda features: prepare(features), input_signature=[specifications], autograph=False
    )
    assert_equal(in_graph(request), prepare(request), atol=1e-5)


@pytest.mark.parametrize("kind", [None, *MATCH_KINDS])
def test_lists_equal_their_candidates_one_by_one(kind: str | None) -> None:
    prepare, users = preparation(kind), raw_features(2)
    candidates = np.array([["10", "20", ""], ["unseen", "60", "50"]])
    lists = prepare(users | {"item_id": tf.constant(candidates)})
    np.testing.assert_array_equal(lists["candidate_mask"], candidates != "")
    for column in range(3):
        alone = prepare(users | {"item_id": tf.constant(candidates[:, column])})
        for name in ("item_row", "numeric", "match", knowledge_row_key("item")):
            np.testing.assert_allclose(lists[name][:, column], alone[name], atol=1e-5)
    for name in ("history_row", "history_rating", "history_mask", knowledge_row_key("user")):
        np.testing.assert_array_equal(lists[name], alone[name])


def test_a_list_of_a_training_user_sees_no_label_of_its_own() -> None:
    prepare = preparation("means")
    users = raw_features(2) | {"user_fold": tf.constant([0, 2])}
    history = {"history_item_id": tf.constant([["10", "30"], ["50", "20"]])}
    users |= history | {"history_rating": tf.constant([[4.0, 1.0], [2.0, 5.0]])}
    candidates = np.array([["10", "20"], ["40", "50"]])
    lists = prepare(users | {"item_id": tf.constant(candidates)})
    for column in range(2):
        alone = prepare(users | {"item_id": tf.constant(candidates[:, column])})
        np.testing.assert_allclose(lists["numeric"][:, column], alone["numeric"], atol=1e-6)


def test_knowledge_of_the_history() -> None:
    prepare = preparation(None, history_knowledge=True)
    prepared = prepare(one_request(["10", "unseen", "40"], [4.5, 2.0, 1.0]))
    np.testing.assert_array_equal(prepared[history_knowledge_row_key("item")], [[3, 0, 5]])
    assert history_knowledge_row_key("user") not in prepared


def test_a_learned_match_is_left_to_the_model() -> None:
    table = np.eye(6, 4, k=-1, dtype=np.float32)
    learned = matches("means", table, learned=True)
    request = raw_features(5) | {"user_fold": tf.constant([0, 1, 2, 0, 1])}
    prepared = preparation("means", matches=learned)(request)
    assert "match" not in prepared
    fixed = preparation("means", matches=matches("means", table))(request)["match"]
    np.testing.assert_allclose(match_features(learned, prepared), fixed, atol=1e-5)
    inputs = preparation("means", matches=learned).match_inputs(request)
    assert_equal(inputs, {name: prepared[name] for name in inputs})


def test_priors_are_numbers_of_the_item() -> None:
    vectors = np.random.default_rng(0).normal(size=[6, 3])
    prior = KnowledgePrior.from_ratings(catalogue_contents(), vectors, Prior(dimension=2, folds=2))
    prepare = preparation(None, priors=[prior])
    request = raw_features(4) | {"item_id": tf.constant(["10", "20", "30", "50"])}
    assert prepare.num_numeric == 8
    numeric, rows = prepare(request)["numeric"], prepare(request)["item_row"]
    np.testing.assert_allclose(numeric[:, -1], prior(rows))
    folds = tf.constant([0, 1, 2, 1])
    fold_priors = prepare(request | {"user_fold": folds})["numeric"][:, -1]
    np.testing.assert_allclose(fold_priors, prior(rows, folds))
    assert np.abs(fold_priors - numeric[:, -1]).max() > 0


def test_nothing_is_trained() -> None:
    assert preparation().trainable_variables == ()
    assert preparation().num_numeric == 7
    assert preparation().num_match_features == 6
    assert preparation(None).num_match_features == 0
