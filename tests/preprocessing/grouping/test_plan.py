from __future__ import annotations

import pytest

from configs.knowledge import SourceAnswers
from configs.loading import ConfigurationError
from configs.prompting import Prompts
from preprocessing.grouping.plan import groups_directory, groups_file, kind_of_groups, plan_groups
from preprocessing.grouping.step import groups_at_hand, unfinished_groups
from preprocessing.steps import settings_hash


def test_all_sources_with_grouping_or_the_named_ones(grouping):
    plans = plan_groups(
        grouping(
            prompts__minimum_group_users=4, knowledge__answers__user_liked__grouping__maximum_size=7
        ),
        None,
    )
    assert [(plan.source, plan.kind, plan.minimum) for plan in plans] == [
        ("item", "item", 2),
        ("user_liked", "liked", 4),
    ]
    assert [plan.source for plan in plan_groups(grouping(), ["user_liked"])] == ["user_liked"]


@pytest.mark.parametrize(
    ("maximum", "minimum"), [(2, 1), (3, 2), (8, 2), (11, 2), (12, 3), (80, 20)]
)
def test_item_groups_have_at_least_a_quarter_of_the_most_and_two(grouping, maximum, minimum):
    scenario = grouping(knowledge__answers__item__grouping__maximum_size=maximum)
    (plan,) = plan_groups(scenario, ["item"])
    assert plan.minimum == minimum


@pytest.mark.parametrize(
    ("assignments", "sources", "message"),
    [
        ({}, ["film"], "no source 'film'"),
        (
            {
                "knowledge__answers__item__grouping": None,
                "knowledge__answers__item__groups": "g.csv",
            },
            ["item"],
            "knowledge.answers.item: has no 'grouping'",
        ),
        ({"prompts__user_groups": {}}, None, "prompts.user_groups.user_liked=liked"),
        (
            {
                "knowledge__answers__user_liked__grouping__maximum_size": 8,
                "prompts__minimum_group_users": 5,
            },
            None,
            "user_liked.grouping.maximum_size: 8 is too small .* use at least 9",
        ),
        (
            {
                "knowledge__answers__item__grouping__features": ["attributes"],
                "data__catalogue__attributes": {},
            },
            None,
            "item.grouping.features: nothing but attributes",
        ),
    ],
)
def test_mistakes_of_the_plan_are_named(grouping, assignments, sources, message):
    with pytest.raises(ConfigurationError, match=message):
        plan_groups(grouping(**assignments), sources)


@pytest.mark.parametrize(
    ("changed", "matters"),
    [
        ({"split__knowledge_history_cap": 3}, True),
        ({"data__positive_rating": 3.0}, True),
        ({"data__filter__minimum_user_interactions": 2}, True),
        (
            {
                "prompts__minimum_group_users": 2,
                "knowledge__answers__user_liked__grouping__maximum_size": 9,
            },
            True,
        ),
        ({"knowledge__answers__user_liked__grouping__seed": 1}, True),
        ({"knowledge__answers__item__grouping__seed": 1}, False),
        ({"data__history_length": 5}, False),
        ({"split__by": "user"}, False),
    ],
)
def test_groups_depend_on_what_they_are_made_from(grouping, changed, matters):
    before, after = grouping(), grouping(**changed)
    hashes = {
        settings_hash(plan_groups(scenario, ["user_liked"])[0].settings(scenario))
        for scenario in (before, after)
    }
    assert len(hashes) == (2 if matters else 1)


def test_kinds_of_groups():
    items, users = (
        SourceAnswers.model_validate({"entity": entity, "collective": ["a"], "grouping": {}})
        for entity in ("item", "user")
    )
    assert kind_of_groups("anything", items, Prompts()) == "item"
    assert kind_of_groups("user_disliked", users, Prompts()) == "disliked"
    assert kind_of_groups("fans", users, Prompts(user_groups={"fans": "liked"})) == "liked"
    with pytest.raises(ConfigurationError, match="prompts.user_groups.fans=liked"):
        kind_of_groups("fans", users, Prompts())


def test_groups_are_a_file_of_ones_own_or_made_or_none(small_scenario, small_folder):
    answers = {"entity": "item", "collective": ["a.jsonl"], "grouping": {}}
    scenario = small_scenario(
        knowledge__answers__made=answers,
        knowledge__answers__film=answers | {"factors": ["genre", "theme"]},
        knowledge__answers__none={"entity": "item", "individual": ["a.jsonl"]},
    )
    assert groups_file(scenario, "item") == str(small_folder / "groups.csv")
    made = small_folder / "work" / "groups" / "made"
    assert groups_file(scenario, "made") == str(made / "groups.csv")
    assert groups_directory(scenario, "made").path == made
    # factors of one answer share the groups
    shared = str(small_folder / "work" / "groups" / "film" / "groups.csv")
    assert groups_file(scenario, "film_genre") == groups_file(scenario, "film_theme") == shared
    assert groups_file(scenario, "none") is None


def test_needed_groups_are_made_once(grouping, capsys):
    scenario = grouping(knowledge__answers__user={"entity": "user", "individual": ["a.jsonl"]})
    assert unfinished_groups(scenario, ["user", "item", "user_liked"]) == ["item", "user_liked"]
    with groups_at_hand(scenario, ["user", "item"]):
        pass
    assert unfinished_groups(scenario, ["user", "item", "user_liked"]) == ["user_liked"]
    assert "group item: 5 of 5" in capsys.readouterr().err
    with groups_at_hand(scenario, ["user"]):
        pass
    assert capsys.readouterr().err == ""


def test_groups_are_at_hand(grouping, read_groups):
    scenario = grouping()
    with groups_at_hand(scenario, ["item"], dry_run=True) as elsewhere:
        path = groups_file(elsewhere, "item")
        assert path is not None and not path.startswith(scenario.work_dir)
        with open(path, encoding="utf-8") as file:
            temporary = file.read()
    assert not groups_directory(scenario, "item").path.exists()
    with groups_at_hand(scenario, ["item"]) as same:
        assert same is scenario
        made = groups_directory(scenario, "item").path / "groups.csv"
        assert made.read_text(encoding="utf-8") == temporary
    with groups_at_hand(scenario, ["item"], dry_run=True) as finished:
        assert finished is scenario
