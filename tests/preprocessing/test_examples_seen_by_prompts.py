from __future__ import annotations

import json

import pytest

from configs.command_line import CommandError
from preprocessing.examples import build_examples
from preprocessing.prompting.step import build_prompts
from preprocessing.records.layout import WorkDirectory
from tests.preprocessing.small_data import user_answer, user_source, write_lines


def test_a_prompt_that_showed_a_sample_fails_the_step(small_scenario, small_folder):
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 5), user_answer("bob", 2)])
    scenario = small_scenario(knowledge__answers__user=user_source(small_folder, " stars;"))
    with pytest.raises(CommandError, match="3 samples") as raised:
        build_examples(scenario)
    # ann's samples start at 2, the LLM saw 5: positions 2, 3 and 4.
    for position in (2, 3, 4):
        assert f"position {position}, the LLM saw 5" in str(raised.value)
    assert "ann" not in str(raised.value).replace("answers", "")
    assert not WorkDirectory(scenario.work_dir).examples.path.exists()


def test_prompts_within_the_rule_verify_their_users(small_scenario, small_folder):
    write_lines(
        small_folder / "users.jsonl",
        [user_answer("ann", 2), user_answer("bob", 2), user_answer("eve", 0)],
    )
    result = build_examples(
        small_scenario(knowledge__answers__user=user_source(small_folder, " stars;"))
    )
    assert result["leak_violations"] == 0
    assert result["leak_check"] == {
        "users_verified_by_prompt": 2,
        "users_by_rule_only": 1,
        "answers_without_counted_prompt": {},
        "unverified_sources": ["item"],
    }


def test_prompts_that_leave_out_items_without_title_hide_nothing(small_scenario, small_folder):
    # One item in four has a title; twelve interactions before k_u, of which prompts show three.
    rows = [f"ann,{item},4,{item}" for item in range(24)]
    (small_folder / "interactions.csv").write_text(
        "\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n"
    )
    titles = [f"{item},{'' if item % 4 else f'Film {item}'},Drama,1999" for item in range(24)]
    (small_folder / "catalogue.csv").write_text(
        "\n".join(["item_id,title,genres,year", *titles]) + "\n"
    )
    made = small_scenario(
        split__knowledge_history_cap=30,
        knowledge__answers__user=user_source(small_folder, None),
        prompts__scenario="movies",
    )
    out = small_folder / "prompts.jsonl"
    build_prompts(made, sources=["user"], out=out)
    (prompt,) = [json.loads(line) for line in out.read_text().splitlines()]
    answer = {**prompt, "answer": "likes drama"}
    assert answer["interactions_seen"] == 12

    def check(answer: dict[str, object], cap: int) -> dict[str, object]:
        write_lines(small_folder / "users.jsonl", [answer])
        source = user_source(small_folder, r"Film \d")
        assignments = {"split__knowledge_history_cap": cap, "knowledge__answers__user": source}
        return build_examples(small_scenario(**assignments))["leak_check"]

    assert check(answer, 30)["unverified_sources"] == ["item"]
    with pytest.raises(CommandError, match="7 samples.*\n.*the LLM saw 12"):
        check(answer, 5)
    silent = {name: value for name, value in answer.items() if name != "interactions_seen"}
    assert check(silent, 5)["unverified_sources"] == ["item", "user"]


def test_user_answers_without_prompts_are_unverified(small_scenario, small_folder):
    silent = {key: text for key, text in user_answer("bob", 1).items() if key != "prompt"}
    scenario = small_scenario(knowledge__answers__user=user_source(small_folder, " stars;"))
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 2), silent])
    check = build_examples(scenario)["leak_check"]
    assert check == {
        "users_verified_by_prompt": 1,
        "users_by_rule_only": 2,
        "answers_without_counted_prompt": {"user": 1},
        "unverified_sources": ["item", "user"],
    }
    # A rejected answer is not used, whatever is unknown about it.
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 2), {**silent, "answer": ""}])
    assert build_examples(scenario)["leak_check"]["unverified_sources"] == ["item"]


def test_user_answers_without_a_pattern_are_unverified(small_scenario, small_folder):
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 9)])
    result = build_examples(
        small_scenario(knowledge__answers__user=user_source(small_folder, None))
    )
    assert result["leak_check"]["unverified_sources"] == ["item", "user"]
    assert result["leak_check"]["users_by_rule_only"] == 3
