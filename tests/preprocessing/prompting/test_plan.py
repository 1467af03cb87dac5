from __future__ import annotations

import pytest

from configs.loading import ConfigurationError
from preprocessing.prompting.step import plan_prompts


def test_sources_are_asked_as_their_answers_are_configured(small_scenario, small_folder):
    user = {"entity": "user", "individual": ["later.jsonl"]}
    scenario = small_scenario(prompts__scenario="books", knowledge__answers__user=user)
    plan = plan_prompts(scenario, None)
    assert plan.individual("item") == ["item"] and plan.individual("user") == ["user"]
    assert plan.collective == ["item"]
    assert plan.input_files[str(small_folder / "groups.csv")] == "knowledge.answers.item.groups"
    only_user = plan_prompts(scenario, ["user"])
    assert only_user.collective == [] and only_user.individual("item") == []
    assert str(small_folder / "groups.csv") not in only_user.input_files


def test_what_answers_cost_does_not_change_the_prompts(small_scenario):
    plans = [
        plan_prompts(small_scenario(prompts__scenario="books", **more), None)
        for more in ({}, {"prompts__expected_answer_tokens": 7}, {"prompts__title_characters": 99})
    ]
    assert plans[0].settings == plans[1].settings != plans[2].settings


def test_mistakes_are_named(small_scenario, small_folder):
    with pytest.raises(ConfigurationError, match="prompts.scenario is missing"):
        plan_prompts(small_scenario(), None)
    with pytest.raises(ConfigurationError, match="no source 'film'"):
        plan_prompts(small_scenario(prompts__scenario="books"), ["film"])
    fans = {"entity": "user", "collective": ["x.jsonl"], "groups": str(small_folder / "groups.csv")}
    scenario = small_scenario(prompts__scenario="books", knowledge__answers__fans=fans)
    with pytest.raises(ConfigurationError, match="prompts.user_groups.fans=liked"):
        plan_prompts(scenario, None)


def test_factors_of_one_answer_are_asked_about_once(small_scenario, small_folder):
    answers = {"entity": "user", "collective": ["a.jsonl"], "grouping": {}}
    scenario = small_scenario(
        prompts__scenario="books",
        knowledge__answers__user_liked=answers | {"factors": ["genre", "theme"]},
    )
    plan = plan_prompts(scenario, ["user_liked_genre"])
    assert plan.collective == ["user_liked"] and plan.kinds == {"user_liked": "liked"}
    made = small_folder / "work" / "groups" / "user_liked" / "groups.csv"
    assert plan.groups == {"user_liked": str(made)}
