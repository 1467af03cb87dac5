from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import tensorflow as tf

from models.profiles import ProfileAttribute
from preprocessing.records.contract import Feature, FeatureType
from serving.request_features import checked_inputs, input_specifications, request_features

USER = ["user_id", "history_item_id", "history_rating"]
STATISTICS = ["user_share_liked", "user_mean_rating", "user_log_count"]


@dataclass
class Preparation:
    profile_attributes: dict[str, ProfileAttribute] = field(default_factory=dict)
    has_ratings: bool = True


def features(kind: str = "ctr", **profile: ProfileAttribute) -> dict[str, Feature]:
    return {feature.name: feature for feature in request_features(Preparation(profile), kind)}


def test_labels_and_times_are_no_part_of_a_request() -> None:
    assert features().keys() == {*USER, *STATISTICS, "item_id"}
    for kind, is_list in (("ctr", False), ("rerank", True), ("retrieval", False)):
        assert features(kind)["item_id"].is_list is is_list


def test_profiles_are_lists_of_strings_or_numbers() -> None:
    actual = features(
        city=ProfileAttribute("categorical", ("Oslo",)), age=ProfileAttribute("numeric")
    )
    city, age = actual["profile_city"], actual["profile_age"]
    assert (city.type, city.is_list) == (FeatureType.BYTES, True)
    assert (age.type, age.is_list) == (FeatureType.FLOAT, True)


def test_users_and_candidates_have_their_own_batch() -> None:
    actual = features(age=ProfileAttribute("numeric"))
    specifications = input_specifications(list(actual.values()), 1, [None])
    assert {name: given.shape.as_list() for name, given in specifications.items()} == {
        "user_id": [1],
        "item_id": [None],
        "history_item_id": [1, None],
        "history_rating": [1, None],
        "profile_age": [1, None],
        **{name: [1] for name in STATISTICS},
    }
    for name, given in specifications.items():
        assert given.name == name
        assert given.dtype == (tf.string if name.endswith("_id") else tf.float32)


def test_candidates_may_be_lists_or_none() -> None:
    lists = input_specifications(list(features("rerank").values()), None, [None, None])
    assert lists["item_id"].shape.as_list() == [None, None]
    nothing = input_specifications(list(features("retrieval").values()), None, None)
    assert nothing.keys() == {*USER, *STATISTICS}


def test_a_largest_request_is_held() -> None:
    actual = list(features("rerank").values())
    specifications = input_specifications(actual, None, [None, None])
    checked = tf.function(
        lambda **raw: checked_inputs(raw, specifications, actual, largest=6)["item_id"],
        autograph=False,
    ).get_concrete_function(**specifications)
    rows = {
        name: tf.zeros([2] * given.shape.rank, given.dtype) if given.dtype == tf.float32
        else tf.fill([2] * given.shape.rank, "a")
        for name, given in specifications.items()
    }  # fmt: skip
    assert checked(**{**rows, "item_id": tf.fill([2, 3], "a")}).shape == (2, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="item_id must have at most 6 values"):
        checked(**{**rows, "item_id": tf.fill([2, 4], "a")})


def test_users_are_counted_where_there_are_no_candidates() -> None:
    actual = list(features("retrieval").values())
    specifications = {"user_id": input_specifications(actual, None, None)["user_id"]}
    assert checked_inputs({"user_id": tf.fill([5], "a")}, specifications, actual, 5).keys()
    with pytest.raises(tf.errors.InvalidArgumentError, match="user_id must have at most 5 values"):
        checked_inputs({"user_id": tf.fill([6], "a")}, specifications, actual, 5)


def test_ratings_that_cannot_be_are_refused_and_those_beside_padding_do_not_count() -> None:
    actual = list(features().values())
    specifications = input_specifications(actual, None, [None])
    rows = {
        name: tf.zeros([2] * given.shape.rank, given.dtype) if given.dtype == tf.float32
        else tf.fill([2] * given.shape.rank, "a")
        for name, given in specifications.items()
    }  # fmt: skip
    ratings = tf.constant([[0.0, 1e6], [-1e6, 3]])
    for good in (
        {"history_rating": ratings, "user_mean_rating": tf.constant([-1e6, 1e6])},
        {"history_rating": tf.zeros([2, 0]), "history_item_id": tf.fill([2, 0], "a")},
        {"history_rating": ratings * 10, "history_item_id": tf.fill([2, 2], "")},
    ):
        checked_inputs({**rows, **good}, specifications, actual)
    for name, values in (("history_rating", ratings * 1e4), ("user_mean_rating", [0.0, -1e20])):
        message = rf"{name} must be between -1e\+06 and 1e\+06"
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            checked_inputs({**rows, name: tf.constant(values)}, specifications, actual)
