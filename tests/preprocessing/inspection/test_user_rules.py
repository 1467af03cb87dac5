from __future__ import annotations

import pytest

from preprocessing.inspection.user_checks import UserRanges

TRAIN, VALIDATION, TEST = range(3)


def problems(split_by: str, cap: int, examples: list[tuple[int, int, int]]) -> list[str]:
    """Checks that fail for one user's examples: part, position, time."""
    users = UserRanges(split_by, cap)
    for part, position, time in examples:
        users.add(b"user", part, position, time)
    return [check for check, _ in users.problems()]


@pytest.mark.parametrize(
    ("cap", "first", "last", "expected"),
    [
        # k_u = min(floor((n + 1) / 2), cap), n = last + 1
        (30, 3, 5, []),
        (30, 2, 5, ["leak_rule"]),
        (2, 2, 5, []),
        (2, 1, 5, ["leak_rule"]),
        (30, 3, 4, []),
        (30, 2, 4, ["leak_rule"]),
        (30, 1, 1, []),
        (30, 0, 0, ["leak_rule"]),
        (0, 0, 9, []),
    ],
)
def test_leak_rule(cap, first, last, expected):
    assert problems("user", cap, [(TRAIN, last, 9), (TRAIN, first, 1)]) == expected


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        ([(TRAIN, 3, 30), (VALIDATION, 4, 40), (TEST, 5, 50)], []),
        ([(TRAIN, 3, 40), (VALIDATION, 4, 40), (TEST, 5, 40)], []),
        ([(TRAIN, 3, 30), (TEST, 5, 50)], []),
        ([(TRAIN, 4, 30), (VALIDATION, 4, 40)], ["parts_out_of_order"]),
        ([(TRAIN, 3, 30), (VALIDATION, 5, 40), (TEST, 4, 50)], ["parts_out_of_order"]),
        ([(TRAIN, 3, 41), (VALIDATION, 4, 40)], ["parts_out_of_order"]),
        ([(TRAIN, 5, 30), (TEST, 4, 50)], ["parts_out_of_order"]),
    ],
)
def test_parts_follow_each_other_for_a_split_by_time(examples, expected):
    assert problems("time", 2, examples) == expected
    assert problems("column", 2, examples) == []


def test_times_may_go_back_where_a_column_gives_the_order():
    users = UserRanges("time", 2, ordered_by_time=False)
    users.add(b"ann", TRAIN, 3, 41)
    users.add(b"ann", VALIDATION, 4, 40)
    users.add(b"bob", TRAIN, 5, 30)
    users.add(b"bob", TEST, 4, 50)
    ((check, message),) = users.problems()
    assert check == "parts_out_of_order" and "position 5 is in train" in message


def test_a_user_has_one_part_in_a_split_by_user():
    examples = [(TRAIN, 3, 30), (TEST, 4, 40)]
    assert problems("user", 2, examples) == ["user_in_two_parts"]
    assert problems("user", 2, [(TEST, 3, 30), (TEST, 4, 20)]) == []


def test_users_are_apart_and_their_ids_hidden():
    users = UserRanges("time", 2)
    users.add(b"alice", TEST, 3, 30)
    users.add(b"bob", TRAIN, 1, 30)
    users.add(b"bob", TRAIN, 5, 50)
    ((check, message),) = users.problems()
    assert check == "leak_rule" and "bob" not in message
    assert "position 1, but of 6 interactions the LLM may have seen the first 2" in message
