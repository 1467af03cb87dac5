from __future__ import annotations

import math

import pytest

from configs.command_line import CommandError
from serving.client.requests import parse_request

GOOD = {
    "user_id": "42",
    "candidates": ["50", 318],
    "history_item_id": ["296", "527", "1"],
    "history_rating": [5, 3.5, 4.0],
}


def test_missing_statistics_come_from_the_history() -> None:
    user, candidates = parse_request(GOOD, positive_rating=4.0)
    assert candidates == ["50", "318"]
    assert user.history_item_id == ["296", "527", "1"]
    assert user.history_rating == [5.0, 3.5, 4.0]
    assert user.user_share_liked == pytest.approx(2 / 3)
    assert user.user_mean_rating == pytest.approx(12.5 / 3)
    assert user.user_log_count == pytest.approx(math.log(4))
    strict, _ = parse_request(GOOD, positive_rating=4.5)
    assert strict.user_share_liked == pytest.approx(1 / 3)


def test_given_statistics_win_one_by_one() -> None:
    document = GOOD | {"user_mean_rating": 3, "user_log_count": None}
    user, _ = parse_request(document, positive_rating=4.0)
    assert user.user_mean_rating == 3.0
    assert user.user_log_count == pytest.approx(math.log(4))


def test_a_history_may_be_left_out() -> None:
    user, _ = parse_request({"user_id": 7, "candidates": ["a"]}, positive_rating=4.0)
    assert (user.user_id, user.history_item_id, user.user_log_count) == ("7", [], 0.0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"user_id": ""}, "'user_id'"),
        ({"user_id": True}, "'user_id'"),
        ({"user_id": None}, "'user_id'"),
        ({"user_id": "\ud800"}, "'user_id' is not valid Unicode"),
        ({"candidates": []}, "'candidates' is empty"),
        ({"candidates": "50"}, "'candidates' must be a list"),
        ({"candidates": ["50", 1.5]}, r"'candidates\[1\]'"),
        ({"history_item_id": {}}, "'history_item_id' must be a list"),
        ({"history_item_id": ["296", "", "1"]}, r"'history_item_id\[1\]'"),
        ({"history_rating": None}, "'history_rating' must be a list"),
        ({"history_rating": [5, "3", 4]}, r"'history_rating\[1\]' must be a finite number"),
        ({"history_rating": [5, True, 4]}, r"'history_rating\[1\]'"),
        ({"history_rating": [5, float("nan"), 4]}, r"'history_rating\[1\]'"),
        ({"history_rating": [5]}, r"'history_item_id' \(3 values\).*'history_rating' \(1 values\)"),
        ({"user_share_liked": "half"}, "'user_share_liked'"),
        ({"user_log_count": float("inf")}, "'user_log_count'"),
        ({"user_log_count": 10**400}, "'user_log_count'"),
        ({"age": 30}, "'age' is not known"),
        ({"profile": ["cook"]}, "'profile' must be an object"),
        ({"profile": {"jobs": {"cook": 1}}}, r"'profile\.jobs' must be a number, a string or"),
        ({"profile": {"jobs": ["cook", 1]}}, r"'profile\.jobs' must be a number, a string or"),
        ({"profile": {"jobs": ["\ud800"]}}, r"'profile\.jobs' is not valid Unicode"),
        ({"profile": {"age": float("nan")}}, r"'profile\.age' must be a finite number"),
        ({"profile": {"age": True}}, r"'profile\.age' must be a finite number"),
    ],
)
def test_a_malformed_field_is_named(change: dict[str, object], field: str) -> None:
    with pytest.raises(CommandError, match=field):
        parse_request(GOOD | change, positive_rating=4.0)


def test_a_missing_user_is_named() -> None:
    document = {name: value for name, value in GOOD.items() if name != "user_id"}
    with pytest.raises(CommandError, match="'user_id' is missing"):
        parse_request(document, positive_rating=4.0)


def test_candidates_may_be_left_out() -> None:
    user, candidates = parse_request({"user_id": 7}, positive_rating=4.0)
    assert (user.user_id, candidates) == ("7", None)


def test_a_profile_has_numbers_and_strings() -> None:
    profile = {"age": 31, "city": "Oslo", "jobs": ["cook", "pilot"], "height": None, "pets": []}
    user, _ = parse_request(GOOD | {"profile": profile}, positive_rating=4.0)
    assert user.profile == {
        "age": 31.0, "city": ["Oslo"], "jobs": ["cook", "pilot"], "height": None, "pets": [],
    }  # fmt: skip
    assert parse_request(GOOD, positive_rating=4.0)[0].profile == {}


def test_an_empty_text_of_a_profile_is_no_value() -> None:
    profile = {"city": "", "jobs": ["cook", ""]}
    user, _ = parse_request(GOOD | {"profile": profile}, positive_rating=4.0)
    assert user.profile == {"city": [], "jobs": ["cook"]}
