from __future__ import annotations

import pytest

from configs.loading import ConfigurationError
from preprocessing.grouping.plan import plan_groups
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
def test_mistakes_are_named(grouping, assignments, sources, message):
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
