from __future__ import annotations

import numpy as np
import pytest

from serving.client.errors import ProfileError
from serving.client.inputs import input_kinds, profile_inputs, require_profile_fits


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
