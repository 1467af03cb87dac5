from __future__ import annotations

import json
import random

import pytest

from preprocessing.answers.names import (
    count_names,
    fault_of,
    has_name_lists,
    name_lists,
    prose_beside_names,
)
from preprocessing.answers.record import LINKING_REASONS, Answer, RejectedAnswer


def answer(content: object, **fields) -> Answer:
    text = content if isinstance(content, str) else json.dumps(content)
    return Answer("links", "7", "individual", text, **fields)


def listed(found) -> dict[str, dict[str, list]]:
    by_entity: dict[str, dict[str, list]] = {}
    for entry in found.lists:
        by_entity.setdefault(entry.entity_id, {})[entry.kind] = list(entry.names)
    return by_entity


@pytest.mark.parametrize(
    ("content", "entity", "expected"),
    [
        (["Heat"], "item", {"links": ["Heat"]}),
        ('```json\n{"links": ["Heat", 7]}\n```', None, {"links": ["Heat", 7]}),
        ({"films": ["Heat"], "why": "audience"}, "item", {"links": ["Heat"]}),
        ({"links": ["Heat"], "not": ["Up"]}, "item", {"links": ["Heat"]}),
        ({"liked": ["Heat"], "disliked": []}, "user", {"liked": ["Heat"]}),
        (
            {"disliked": ["Up"], "liked": ["Heat"]},
            None,
            {"liked": ["Heat"], "disliked": ["Up"]},
        ),
        ({"disliked": ["Up"]}, "user", {"disliked": ["Up"]}),
    ],
)
def test_lists_are_found_in_several_forms(content, entity, expected):
    assert listed(name_lists(answer(content), entity)) == {"7": expected}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1. Heat (1995)", "2) Up", " 3.  Se7en"], ["Heat (1995)", "Up", "Se7en"]),
        ([f"{n}. Film {n * n}" for n in range(1, 13)], [f"Film {n * n}" for n in range(1, 13)]),
        (["1. FC Koeln", "2. Bundesliga"], None),
        (["1. Heat", "2. Up", "3. Heat"], ["Heat", "Up", "Heat"]),
        (["1. Mose", "2. Mose", "3. Mose"], None),
        (["1. Heat", "Up", "3. Se7en"], None),
        (["2. Heat", "3. Up", "4. Se7en"], None),
        (["1. Heat", "2. Up", 3], None),
        (["1.5 Degrees", "2.0", "3.10"], None),
        (["1984", "2001", "300"], None),
    ],
)
def test_numbers_of_a_list_are_no_parts_of_names(names, expected):
    expected = names if expected is None else expected
    assert listed(name_lists(answer(names))) == {"7": {"links": expected}}
    groups = answer({"1": names, "2": ["Up"]}, **MEMBERS)
    assert listed(name_lists(groups))["a"] == {"links": expected}


def test_factors_hold_names_beside_prose():
    structured = answer("genre: noir", factors={"genre": "noir", "peers": ["Heat"], "cast": ["x"]})
    assert listed(name_lists(structured, "item", "peers")) == {"7": {"links": ["Heat"]}}
    with pytest.raises(RejectedAnswer):
        name_lists(structured, "item")  # either list might be meant
    assert prose_beside_names(structured) == "noir"


@pytest.mark.parametrize(
    ("content", "entity", "reason"),
    [
        ("I would watch Heat.", "item", "no_list"),
        ("I'm sorry, I am not familiar with this film.", "item", "refusal"),
        ("[" * 100_000, "item", "no_list"),
        ([], "item", "no_list"),
        ("7", "item", "no_list"),
        ({"links": "Heat"}, "item", "no_list"),
        ({"liked": "Heat", "disliked": ["Up"]}, "user", "no_list"),
        ({"liked": [], "disliked": []}, "user", "no_list"),
        (["Heat"], "user", "no_list"),
    ],
)
def test_other_answers_list_nothing(content, entity, reason):
    with pytest.raises(RejectedAnswer) as raised:
        name_lists(answer(content), entity)
    assert raised.value.reason == reason


MEMBERS = {
    "members": ("a", "b", "c"),
    "prompt": 'Each: 1. "Heat (1995)"; 2. "2 Days in the Valley"; 3. "Up". {"links": {"1": [...]}}',
}


@pytest.mark.parametrize(
    ("content", "expected", "left_out", "unknown"),
    [
        ({"links": {"1": ["x"], "3": ["y"]}}, {"a": ["x"], "c": ["y"]}, ["b"], []),
        ({"1.": ["x"], "2: Days": ["y"], "3) Up": ["z"]},
         {"a": ["x"], "b": ["y"], "c": ["z"]}, [], []),
        # a title that begins with a number is not that number
        ({"links": {"2 days in the valley (1996)": ["x"], "heat": ["y"]}},
         {"b": ["x"], "a": ["y"]}, ["c"], []),
        ({"links": {"0": ["x"], "4": ["x"], "Zodiac": ["x"], "2": ["y"], "1": "x", "3": []}},
         {"b": ["y"]}, ["a", "c"], ["0", "4", "Zodiac"]),
    ],
)  # fmt: skip
def test_members_of_a_group_are_meant_by_number_or_title(content, expected, left_out, unknown):
    actual = name_lists(answer(content, **MEMBERS))
    assert {entry.entity_id: entry.names for entry in actual.lists} == expected
    assert actual.left_out == left_out and actual.unknown == unknown


def test_titles_that_begin_like_a_number_are_titles():
    members = {"members": ("a", "b", "c"), "prompt": '1. "3:10 to Yuma (2007)"; 2. "Up"; 3. "9.99"'}
    content = {"3:10 to Yuma": ["x"], "9.99": ["y"], "2. Up": ["z"], "1": ["again"]}
    actual = name_lists(answer(content, **members))
    assert {entry.entity_id: entry.names for entry in actual.lists} == {
        "a": ["x"],
        "c": ["y"],
        "b": ["z"],
    }
    assert actual.unknown == ["1"]  # a second list for "a" is not lost without a word


@pytest.mark.parametrize("content", [["x"], {"links": ["x"]}, {"links": {"9": ["x"]}}, {"1": []}])
def test_an_answer_for_none_of_the_members_is_no_answer(content):
    with pytest.raises(RejectedAnswer, match="no_list"):
        name_lists(answer(content, **MEMBERS))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Heat", None),
        ("Sorry, Wrong Number", None),
        ("Please Give", None),
        ("[Rec]", None),
        ("千と千尋の神隠し", None),
        ("9", None),
        (9, "name_not_a_text"),
        (None, "name_not_a_text"),
        (["Heat"], "name_not_a_text"),
        ("", "name_without_letters"),
        ("?!", "name_without_letters"),
        ("x" * 300, None),
        ("x" * 10_000, "name_too_long"),
        ("N/A", "no_name"),
        ("[title]", "no_name"),
        ("{name}", "no_name"),
        ("I'm sorry, but I don't know this film well enough", "no_name"),
        ("As an AI language model I cannot name films", "no_name"),
    ],
)
def test_what_is_no_name(name, reason):
    assert fault_of(name) == reason
    assert reason is None or reason in LINKING_REASONS


def test_names_are_counted_by_what_becomes_of_them():
    names = ["The Matrix", "the matrix (1999)", "Heat (1986)", "heat!", 3, "N/A", "Up (2009)"]
    actual = name_lists(answer(names, prompt='The movie is "Heat (1995)". {"links": [titles]}'))
    assert count_names(actual).as_dictionary() == {
        "lists": 1,
        "names": 7,
        "usable": 3,
        "dropped": {"name_not_a_text": 1, "no_name": 1, "repeated_name": 1, "self_mention": 1},
        "members_left_out": 0,
    }
    remakes = name_lists(answer(["Sabrina (1954)", "Sabrina (1995)", "Sabrina", "Sabrina (1954)"]))
    assert dict(count_names(remakes).dropped) == {"repeated_name": 2}
    # what a user would love is not disliked, too; titles of the history are not the user's own
    user = answer({"liked": ["Up", "Heat"], "disliked": ["up"]}, prompt='History: "Heat" 3 stars.')
    counts = count_names(name_lists(user))
    assert (counts.lists, counts.usable, dict(counts.dropped)) == (2, 2, {"repeated_name": 1})
    group = answer({"1": ["2 days in the valley", "heat"], "2": ["Heat"]}, **MEMBERS)
    counts = count_names(name_lists(group))
    assert (counts.usable, dict(counts.dropped)) == (2, {"self_mention": 1})
    assert counts.members_left_out == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"links": ["Heat"]}, True),
        (["Heat"], True),
        ('```\n["Heat"]\n```', True),
        ({"liked": []}, True),
        ({"genre": "noir", "mood": "dark"}, False),
        ({"genre": ["noir"]}, False),
        ("[Rec] is a Spanish film.", False),
        ("A film.", False),
    ],
)
def test_lists_are_told_from_prose(content, expected):
    assert has_name_lists(answer(content)) is expected


def any_content(rng: random.Random, depth: int = 3) -> object:
    kind = rng.randrange(6 if depth else 4)
    if kind < 4:
        return [None, True, rng.randrange(9), rng.choice(["", "Heat", "up", "?", "N/A"])][kind]
    inner = [any_content(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 4:
        return inner
    return dict(zip(rng.sample(["links", "liked", "1", "x"], len(inner)), inner, strict=True))


def test_every_entry_of_any_answer_is_counted_once():
    rng, counted = random.Random(0), 0
    for _ in range(2000):
        content = any_content(rng)
        for more in ({}, MEMBERS):
            try:
                actual = name_lists(answer(content, **more))
            except RejectedAnswer as error:
                assert error.reason == "no_list"
                continue
            names = count_names(actual).as_dictionary()["names"]
            assert names == sum(len(entry.names) for entry in actual.lists) > 0
            counted += 1
    assert counted > 200
