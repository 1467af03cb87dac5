from __future__ import annotations

import pytest

from configs.loading import ConfigurationError
from configs.scenario import Catalogue, Profiles, Prompts
from preprocessing.prompting.prompt_scenario import load_prompt_scenario, prompt_scenario_path
from preprocessing.prompting.reading import (
    catalogue_header,
    groups_header,
    profile_sentence,
    read_groups,
    read_items,
    read_profiles,
)
from preprocessing.prompting.scratch import Scratch
from preprocessing.prompting.titles import TitleDisplay


@pytest.fixture
def scratch(tmp_path):
    with Scratch(tmp_path / "scratch.sqlite") as opened:
        yield opened


def written(tmp_path, text: str) -> str:
    path = tmp_path / "input.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_items_are_read_once_each(tmp_path, scratch):
    path = written(tmp_path, 'item_id,title\n1,One\n2,"Two, ""too"""\n1,Again\n,None\n3,\nbad\n')
    catalogue = Catalogue(path=path)
    scenario = load_prompt_scenario(prompt_scenario_path("books"))
    display = TitleDisplay(scenario, catalogue, Prompts())
    letters, records = read_items(catalogue, catalogue_header(catalogue), display, scratch)
    assert records == 6
    assert list(scratch.items()) == [("1", '"One"', 2), ("2", "\"Two, 'too'\"", 3), ("3", "", 6)]
    found = sorted((letter["line"], letter["reason"]) for letter in letters)
    assert found == [(4, "duplicate_item"), (5, "missing_item_id"), (7, "wrong_column_count")]


def test_groups_are_read_once_per_entity(tmp_path, scratch):
    path = written(tmp_path, "user_id,group_id\nann,a\nbob,b\nann,b\n,c\n")
    header = groups_header("liked", "user", path)
    letters, records = read_groups("liked", "user", path, header, scratch)
    assert records == 4
    assert scratch.groups_of("liked", ["ann", "bob"]) == ["a", "b"]
    found = sorted((letter["line"], letter["reason"]) for letter in letters)
    assert found == [(4, "duplicate_entity"), (5, "missing_user_id")]
    with pytest.raises(ConfigurationError, match="knowledge.answers.item.groups"):
        groups_header("item", "item", path)


PROFILES = (
    'user_id,age,job\nann,25-34,"writer\u200b ""X"""\nbob,,baker\ncid,18-24,cid\nann,1,2\n,3,4\n'
)


def test_profiles_become_sentences(tmp_path, scratch):
    path = written(tmp_path, PROFILES)
    profiles = Profiles(path=path, sentence="The user is {age} and a {job}.")
    letters, records = read_profiles(profiles, profile_sentence(profiles), scratch)
    assert records == 5
    # bob's age is missing; cid's own id stands among the values
    assert scratch.profiles(["ann", "bob", "cid"]) == {
        "ann": "The user is 25-34 and a writer 'X'.",
        "bob": "",
        "cid": "",
    }
    assert {letter["reason"] for letter in letters} == {"duplicate_user", "missing_user_id"}
    assert "ann" not in str(letters)


@pytest.mark.parametrize("sentence", ["{user_id} is {age}", "{colour}", "{age"])
def test_profile_sentences_are_checked(tmp_path, sentence):
    profiles = Profiles(path=written(tmp_path, PROFILES), sentence=sentence)
    with pytest.raises(ConfigurationError, match="prompts.profiles.sentence"):
        profile_sentence(profiles)
