from __future__ import annotations

import math

import numpy as np
import pytest

from serving.client.errors import ProfileError, RankingError
from serving.client.inputs import (
    STRINGS_WITHOUT_PROFILE,
    InputKind,
    ModelInputs,
    UserRequest,
    id_array,
    input_kinds,
    padded_ids,
    profile_inputs,
    rank_inputs,
    require_profile_fits,
    row_inputs,
    user_inputs,
)


def test_statistics_come_from_the_history() -> None:
    user = UserRequest.from_history("u", ["a", "b", "c"], [4.0, 5.0, 2.5])
    assert math.isnan(user.user_share_liked)  # the model knows what is liked
    assert user.user_mean_rating == pytest.approx(11.5 / 3)
    assert user.user_log_count == pytest.approx(math.log(4))
    strict = UserRequest.from_history("u", ["a", "b", "c"], [4.0, 5.0, 2.5], positive_rating=4.5)
    assert strict.user_share_liked == pytest.approx(1 / 3)


def test_a_history_of_implicit_feedback_has_no_ratings() -> None:
    user = UserRequest.from_history("u", ["a", "b"])
    assert (user.user_share_liked, user.user_mean_rating) == (1, 1)
    assert user.user_log_count == pytest.approx(math.log(3))
    names = {"user_id", "item_id", "history_item_id", "user_log_count"}
    assert rank_inputs(user, ["x"]).keys() == names
    assert rank_inputs(user, ["x"], ModelInputs(ratings=False)).keys() == names
    with pytest.raises(RankingError, match="history_rating is missing"):
        rank_inputs(user, ["x"], ModelInputs(ratings=True))
    rated = UserRequest.from_history("u", ["a"], [4.0])
    assert rank_inputs(rated, ["x"], ModelInputs(ratings=False)).keys() == names


def test_an_empty_history_has_neutral_statistics_and_one_empty_column() -> None:
    user = UserRequest.from_history("u", [], [])
    assert (user.user_share_liked, user.user_mean_rating, user.user_log_count) == (0, 0, 0)
    inputs = rank_inputs(user, ["x"])
    assert inputs["history_item_id"].tolist() == [[""]]
    assert inputs["history_rating"].tolist() == [[0.0]]


def test_rank_inputs_hold_the_user_once() -> None:
    user = UserRequest("u", ["a", "b"], [4.0, 3.5], 0.5, 3.75, 1.1)
    inputs = rank_inputs(user, ["x", "yy", "z"])
    assert {name: array.shape for name, array in inputs.items()} == {
        "user_id": (1,),
        "item_id": (3,),
        "history_item_id": (1, 2),
        "history_rating": (1, 2),
        "user_share_liked": (1,),
        "user_mean_rating": (1,),
        "user_log_count": (1,),
    }
    assert inputs["item_id"].tolist() == ["x", "yy", "z"]
    assert inputs["history_rating"].dtype == inputs["user_log_count"].dtype == np.float32


def test_row_inputs_complete_short_histories_at_the_end() -> None:
    users = [
        UserRequest("u", ["a", "b"], [4.0, 3.5], 0.5, 3.75, 1.1),
        UserRequest("v", [], [], 0.0, 0.0, 0.0),
    ]
    inputs = row_inputs(users, ["x", "y"])
    assert inputs["history_item_id"].tolist() == [["a", "b"], ["", ""]]
    assert inputs["history_rating"].tolist() == [[4.0, 3.5], [0.0, 0.0]]
    assert inputs["user_id"].tolist() == ["u", "v"]
    np.testing.assert_array_equal(inputs["user_mean_rating"], np.float32([3.75, 0]))


def test_profiles_are_inputs() -> None:
    users = [
        UserRequest.from_history("u", [], [], profile={"city": "Oslo", "age": 31}),
        UserRequest.from_history("v", [], []),
    ]
    inputs = row_inputs(users, ["x", "y"], ModelInputs({"age": False, "job": True}))
    assert inputs["profile_city"].tolist() == [["Oslo"], [""]]
    assert inputs["profile_job"].tolist() == [[""], [""]]
    np.testing.assert_array_equal(inputs["profile_age"], np.float32([[31], [np.nan]]))
    ranked = rank_inputs(users[0], ["x", "y"])
    assert ranked["profile_city"].tolist() == [["Oslo"]]
    assert ranked.keys() - user_inputs(users[:1]).keys() == {"item_id"}


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="history_item_id and history_rating.*2 and 1"):
        UserRequest("u", ["a", "b"], [4.0], 0.5, 3.75, 1.1)
    with pytest.raises(ValueError, match="1 users, 2 items"):
        row_inputs([UserRequest.from_history("u", [], [])], ["x", "y"])


def test_ids_of_models_with_whole_numbers_are_int64() -> None:
    known = ModelInputs(integers=frozenset({"user_id", "item_id", "history_item_id"}))
    users = [
        UserRequest.from_history(7, ["11", 12], [4.0, 5.0]),
        UserRequest.from_history("", [], []),
    ]
    inputs = row_inputs(users, ["318", 50], known)
    for name in ("user_id", "item_id", "history_item_id"):
        assert inputs[name].dtype == np.int64
    assert inputs["user_id"].tolist() == [7, -1]
    assert inputs["item_id"].tolist() == [318, 50]
    assert inputs["history_item_id"].tolist() == [[11, 12], [-1, -1]]
    assert inputs["history_rating"].tolist() == [[4.0, 5.0], [0.0, 0.0]]


def test_each_id_input_has_its_own_type() -> None:
    user = UserRequest.from_history("anna", [3], [4.0])
    inputs = rank_inputs(user, [1], ModelInputs(integers=frozenset({"item_id"})))
    assert inputs["user_id"].tolist() == ["anna"]
    assert inputs["item_id"].tolist() == [1]
    assert inputs["history_item_id"].tolist() == [["3"]]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39, np.float32(np.inf)])
@pytest.mark.parametrize(
    "field", ["history_rating", "user_share_liked", "user_mean_rating", "user_log_count", "age"]
)
def test_numbers_that_are_not_finite_are_refused_by_name(field: str, value: float) -> None:
    fields = {
        "history_item_id": ["a", "b"],
        "history_rating": [4.0, 3.5],
        "user_share_liked": 0.5,
        "user_mean_rating": 3.75,
        "user_log_count": 1.1,
        "profile": {"age": 30.0, "city": "Oslo"},
    }
    UserRequest("u", **fields)
    changed = {field: [4.0, value] if field == "history_rating" else value}
    if field == "age":
        changed = {"profile": {"age": value}}
    if math.isnan(value) and field in ("user_share_liked", "age"):
        UserRequest("u", **{**fields, **changed})  # not known
        return
    with pytest.raises(ValueError, match=f"{field}'? must be finite numbers of 32 bits"):
        UserRequest("u", **{**fields, **changed})


@pytest.mark.parametrize(
    ("field", "possible", "impossible"),
    [
        ("user_share_liked", (0.0, 1.0), (-0.1, 50.0)),
        ("user_log_count", (0.0, 20.0), (-1.0, 31.0)),
        ("user_mean_rating", (-1e6, 1e6), (-1e7, 1e20)),
        ("history_rating", ([-1e6], [1e6]), ([-1e7], [1e10])),
    ],
)
def test_statistics_that_cannot_be_are_refused_by_name(
    field: str, possible: tuple[object, ...], impossible: tuple[object, ...]
) -> None:
    fields = {"history_item_id": ["a"], "history_rating": [4.0], "user_mean_rating": 4.0}
    fields |= {"user_share_liked": 1.0, "user_log_count": 0.7}
    for value in possible:
        assert getattr(UserRequest("u", **{**fields, field: value}), field) == value
    for value in impossible:
        with pytest.raises(ValueError, match=f"{field} must be between"):
            UserRequest("u", **{**fields, field: value})


def test_without_profiles_there_are_no_inputs() -> None:
    assert profile_inputs([{}, {}]) == {}


def test_values_of_several_users_are_completed() -> None:
    inputs = profile_inputs([{"city": ["Oslo", "Lima"], "age": 30}, {"city": "Bonn"}, {}])
    assert inputs.keys() == {"profile_city", "profile_age"}
    assert inputs["profile_city"].tolist() == [["Oslo", "Lima"], ["Bonn", ""], ["", ""]]
    assert inputs["profile_age"].dtype == np.float32
    np.testing.assert_array_equal(inputs["profile_age"], [[30], [np.nan], [np.nan]])


def test_what_the_model_knows_and_nobody_has_is_sent_as_not_known() -> None:
    inputs = profile_inputs([{"age": None, "city": []}], {"age": False, "city": True})
    assert inputs["profile_city"].tolist() == [[""]]
    np.testing.assert_array_equal(inputs["profile_age"], [[np.nan]])


def test_what_is_given_decides_the_kind() -> None:
    inputs = profile_inputs([{"age": "thirty"}, {}], {"age": False})
    assert inputs["profile_age"].tolist() == [["thirty"], [""]]


def test_kinds_must_agree() -> None:
    with pytest.raises(ValueError, match="'age' must be strings.*'thirty' beside"):
        profile_inputs([{"age": 30}, {"age": "thirty"}])


def test_profile_attributes_are_found_among_a_signatures_inputs() -> None:
    inputs = {"user_id": True, "profile_city": True, "profile_age": False, "user_log_count": False}
    assert input_kinds(inputs) == {"city": True, "age": False}


KNOWN = {"city": True, "age": False}


@pytest.mark.parametrize(
    ("profile", "known", "attribute", "reason"),
    [
        (
            {"age": 30, "agee": 30},
            KNOWN,
            "agee",
            "is not one that the model reads; it reads age (number), city (string or several)",
        ),
        ({"age": "30"}, KNOWN, "age", "must be a number. Received: a string or several"),
        ({"city": 3}, KNOWN, "city", "must be a string or several. Received: a number"),
        ({"age": 30}, {}, "age", "is not one that the model reads; it reads no profile"),
    ],
)
def test_what_the_model_does_not_read_is_named(
    profile: dict[str, str | float], known: dict[str, bool], attribute: str, reason: str
) -> None:
    inputs = {"user_id": np.array(["u"], dtype=object), **profile_inputs([profile], known)}
    with pytest.raises(ProfileError) as caught:
        require_profile_fits(inputs, known)
    assert (caught.value.attribute, caught.value.reason) == (attribute, reason)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert str(caught.value) == f"profile attribute '{attribute}' {reason}"


def test_a_profile_may_say_less_than_the_model_reads() -> None:
    for profile in ({}, {"age": 30}, {"city": ["Oslo"], "age": None}):
        require_profile_fits(profile_inputs([profile], KNOWN), KNOWN)


def test_profile_and_whole_numbers_are_found_among_the_inputs() -> None:
    actual = ModelInputs.of_kinds(
        {
            "user_id": InputKind.STRINGS,
            "item_id": InputKind.INTEGERS,
            "user_log_count": InputKind.NUMBERS,
            "profile_city": InputKind.STRINGS,
            "profile_age": InputKind.NUMBERS,
        }
    )
    assert actual == ModelInputs({"city": True, "age": False}, frozenset({"item_id"}))
    assert ModelInputs.of_kinds({"user_id": InputKind.STRINGS}) == STRINGS_WITHOUT_PROFILE


LARGEST = 2**63 - 1


def test_numbers_and_texts_are_the_same_id() -> None:
    values = ["318", 318, "", -5, str(LARGEST)]
    as_strings = id_array(values, "item_id", False)
    assert as_strings.dtype == object
    assert as_strings.tolist() == ["318", "318", "", "-5", str(LARGEST)]
    as_integers = id_array(values, "item_id", True)
    assert as_integers.dtype == np.int64
    assert as_integers.tolist() == [318, 318, -1, -5, LARGEST]


def test_lists_are_completed_by_the_id_that_is_none() -> None:
    lists = [["1", "2"], [], [3]]
    assert padded_ids(lists, "h", False).tolist() == [["1", "2"], ["", ""], ["3", ""]]
    integers = padded_ids(lists, "h", True)
    assert integers.dtype == np.int64
    assert integers.tolist() == [[1, 2], [-1, -1], [3, -1]]
    assert padded_ids([[]], "h", True).tolist() == [[-1]]
    assert padded_ids([[]], "h", False).tolist() == [[""]]


@pytest.mark.parametrize(
    "value",
    [
        *("tt1", "1.5", 3.9, " ", " 7 ", "007", "1_0", "-0", "\u0663"),
        *(str(LARGEST + 1), LARGEST + 1),
    ],
)
def test_what_is_no_whole_number_is_named(value: object) -> None:
    with pytest.raises(RankingError, match="input 'item_id'.*64 bits") as caught:
        id_array(["1", value], "item_id", True)
    assert repr(value) in str(caught.value)
    assert caught.value.code == "INVALID_ARGUMENT"
