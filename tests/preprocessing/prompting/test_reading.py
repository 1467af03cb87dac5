from __future__ import annotations

import pytest

from configs.data import CatalogueTable, Profiles
from configs.loading import ConfigurationError
from configs.prompting import Prompts
from preprocessing.grouping.groups_file import open_groups
from preprocessing.interactions.catalogue import open_catalogue, open_profiles
from preprocessing.prompt_templates import (
    TitleDisplay,
    load_prompt_scenario,
    prompt_scenario_path,
)
from preprocessing.prompting.reading import (
    profile_sentence,
    read_groups,
    read_items,
    read_profiles,
)


def written(tmp_path, text: str, name: str = "input.csv") -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_items_are_read_once_each(tmp_path, scratch):
    paths = (
        written(tmp_path, 'item_id,title\n1,One\n2,"Two, ""too"""\n1,Again\n,None\n3,\nbad\n'),
        written(tmp_path, "item_id,title\n4,Four\n2,Two\n", "more.csv"),
    )
    catalogue = CatalogueTable(path=paths)
    scenario = load_prompt_scenario(prompt_scenario_path("books"))
    display = TitleDisplay(scenario, catalogue.attributes, Prompts())
    letters, records = read_items(catalogue, open_catalogue(catalogue), display, scratch)
    assert records == 8
    assert list(scratch.items()) == [
        ("1", '"One"', (0, 2)),
        ("2", "\"Two, 'too'\"", (0, 3)),
        ("3", "", (0, 6)),
        ("4", '"Four"', (1, 2)),
    ]
    actual = sorted((letter["line"], letter["reason"]) for letter in letters)
    assert actual == [
        (3, "duplicate_item"),
        (4, "duplicate_item"),
        (5, "missing_item_id"),
        (7, "wrong_column_count"),
    ]
    assert any(
        f"same item as line 3 of {paths[0]}".startswith(letter["detail"].removesuffix("..."))
        for letter in letters
    )


def test_groups_are_read_once_per_entity(tmp_path, scratch):
    path = written(tmp_path, "user_id,group_id\nann,a\nbob,b\nann,b\n,c\n")
    letters, records = read_groups("liked", "user", open_groups(path, "user", "key"), scratch)
    assert records == 4
    assert scratch.groups_of("liked", ["ann", "bob"]) == ["a", "b"]
    actual = sorted((letter["line"], letter["reason"]) for letter in letters)
    assert actual == [(4, "duplicate_entity"), (5, "missing_user_id")]


PROFILES = (
    'user_id,age,job,sex\nann,25-34,"writer\u200b ""X""",F\nbob,,baker,M\ncid,18-24,cid,M\n'
    f"ann,1,2,F\n,3,4,F\n{'d' * 64},18-24,{'d' * 64},F\na<b>c,18-24,a<b>c,F\n"
)


def profiles(tmp_path) -> Profiles:
    attributes = {
        "age": {"kind": "categorical"},
        "job": {"kind": "categorical"},
        "gender": {"kind": "categorical", "column": "sex", "values": {"F": "woman", "M": "man"}},
    }
    path = written(tmp_path, PROFILES)
    return Profiles.model_validate({"path": path, "attributes": attributes})


def test_profiles_become_sentences(tmp_path, scratch):
    users = profiles(tmp_path)
    sentence = profile_sentence("The user is a {gender} of {age} and a {job}.", users)
    letters, records = read_profiles(users, open_profiles(users), sentence, scratch)
    assert records == 7
    # bob's age is missing; the ids of cid and others, long or not, stand among their values
    assert scratch.profiles(["ann", "bob", "cid", "d" * 64, "a<b>c"]) == {
        "d" * 64: "",
        "a<b>c": "",
        "ann": "The user is a woman of 25-34 and a writer 'X'.",
        "bob": "",
        "cid": "",
    }
    assert {letter["reason"] for letter in letters} == {"duplicate_user", "missing_user_id"}
    assert "ann" not in str(letters)


@pytest.mark.parametrize("sentence", ["{user_id} is {age}", "{sex}", "{age"])
def test_placeholders_are_attributes_and_never_the_user_id(tmp_path, sentence):
    with pytest.raises(ConfigurationError, match="prompts.profile_sentence"):
        profile_sentence(sentence, profiles(tmp_path))


def test_a_sentence_needs_profiles():
    with pytest.raises(ConfigurationError, match="prompts.profile_sentence: needs data.profiles"):
        profile_sentence("The user is {age}.", None)


def test_items_have_codes_in_the_order_of_the_catalogue(scratch):
    assert scratch.add_item("b", '"B"', (0, 2)) is None
    assert scratch.add_item("a", "", (0, 3)) is None
    assert scratch.add_item("b", '"Other"', (1, 4)) == (0, 2)
    assert scratch.add_item("c", '"C"', (1, 5)) is None
    assert scratch.item_count == 3
    assert list(scratch.items()) == [
        ("b", '"B"', (0, 2)), ("a", "", (0, 3)), ("c", '"C"', (1, 5)),
    ]  # fmt: skip
    assert scratch.codes(["c", "x", "b", "c"]).tolist() == [2, -1, 0, 2]
    assert scratch.titles([1, 0]) == {0: '"B"', 1: ""}


def test_more_ids_than_one_query_takes(scratch):
    names = [f"item{number}" for number in range(1700)]
    for line, name in enumerate(names):
        scratch.add_item(name, name, (0, line))
    assert scratch.codes(list(reversed(names))).tolist() == list(range(1699, -1, -1))
    assert len(scratch.titles(range(1700))) == 1700


def test_groups_belong_to_a_source(scratch):
    scratch.add_item("i1", "One", (0, 2))
    scratch.add_item("i2", "", (0, 3))
    for line, (entity, group) in enumerate([("i1", "g"), ("i2", "g"), ("i3", "h")], start=2):
        assert scratch.add_member("item", entity, line, group) is None
    assert scratch.add_member("item", "i1", 9, "h") == 2
    assert scratch.add_member("other", "i1", 2, "z") is None
    assert scratch.group_sizes("item") == {"g": 2, "h": 1}
    assert list(scratch.members("item")) == [("i1", "g"), ("i2", "g"), ("i3", "h")]
    assert scratch.groups_of("item", ["i3", "x", "i1"]) == ["h", None, "g"]
    assert list(scratch.groups_of_items("item")) == [(0, "g")]


def test_profiles_and_pseudonyms(scratch):
    assert scratch.add_profile("u", "A sentence.", (1, 2)) is None
    assert scratch.add_profile("u", "Another.", (1, 3)) == (1, 2)
    assert scratch.profiles(["u", "v"]) == {"u": "A sentence."}
    assert [scratch.times_asked(name) for name in ("p", "q", "p", "p")] == [1, 1, 2, 3]
