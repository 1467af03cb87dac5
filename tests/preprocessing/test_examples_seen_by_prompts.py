from __future__ import annotations

import json

import pytest

from configs.command_line import CommandError
from preprocessing.examples import build_examples
from preprocessing.prompting.step import build_prompts
from preprocessing.records.layout import WorkDirectory
from tests.preprocessing.small_data import user_answer, user_source, write_lines


def test_a_prompt_that_showed_a_sample_fails_the_step(small_scenario, small_folder):
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 0, 3), user_answer("bob", 0, 1)])
    scenario = small_scenario(knowledge__answers__user=user_source(small_folder, " stars;"))
    with pytest.raises(CommandError, match="1 samples") as raised:
        build_examples(scenario)
    message = str(raised.value)
    # ann's samples start at 2; item 100 at position 3 was shown.
    assert "position 3, k_u is 2" in message and "knowledge.answers.user.seen: training" in message
    assert "ann" not in message.replace("answers", "")
    assert not WorkDirectory(scenario.work_dir).examples.path.exists()


def test_answers_made_from_the_training_part_are_declared_and_looked_up(
    small_scenario, small_folder
):
    source = {**user_source(small_folder, " stars;"), "seen": "training"}
    settings = {"knowledge__answers__user": source, "split__knowledge_history_cap": 0}
    # All but the last two of ann's twelve and the last of bob's four interactions are training.
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 3), user_answer("bob", 0, 2)])
    check = build_examples(small_scenario(**settings))["leak_check"]
    assert check["declared_sources"] == {"user": "training"}
    assert check["users_verified_by_prompt"] == 2 and check["unverified_sources"] == ["item"]
    silent = {key: text for key, text in user_answer("bob").items() if key != "prompt"}
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 3), silent])
    check = build_examples(small_scenario(**settings))["leak_check"]
    assert check["unresolved_answers"] == {"user": 1} and check["unverified_sources"] == ["item"]
    write_lines(small_folder / "users.jsonl", [user_answer("bob", 3)])
    with pytest.raises(CommandError, match="made with another split; set split.by"):
        build_examples(small_scenario(**settings))


def test_prompts_within_the_rule_verify_their_users(small_scenario, small_folder):
    write_lines(
        small_folder / "users.jsonl",
        [user_answer("ann", 0, 1), user_answer("bob", 0), user_answer("eve")],
    )
    result = build_examples(
        small_scenario(knowledge__answers__user=user_source(small_folder, " stars;"))
    )
    assert result["leak_violations"] == 0
    assert result["leak_check"] == {
        "users_verified_by_prompt": 2,
        "users_by_rule_only": 1,
        "unresolved_answers": {},
        "declared_sources": {},
        "unverified_sources": ["item"],
    }


def test_prompts_are_looked_up_beside_a_universe_of_items_and_time_cuts(
    small_scenario, small_folder
):
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 0, 1), user_answer("bob", 2)])
    scenario = small_scenario(
        knowledge__answers__user=user_source(small_folder, " stars;"),
        data__negatives={"per_positive": 1},
        split__by="global_time",
    )
    with pytest.raises(CommandError, match="1 samples"):
        build_examples(scenario)


@pytest.mark.parametrize("more", [{}, {"links": {"until": 2016}}], ids=["prose", "links"])
def test_prompts_that_leave_out_items_without_title_hide_nothing(
    small_scenario, small_folder, more
):
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
        knowledge__answers__user=user_source(small_folder, None) | more,
        prompts__scenario="movies",
    )
    out = small_folder / "prompts.jsonl"
    build_prompts(made, sources=["user"], out=out)
    (prompt,) = [json.loads(line) for line in out.read_text().splitlines()]
    answer = {**prompt, "answer": "likes drama"}
    assert answer["interactions_seen"] == 12

    def check(answer: dict[str, object], cap: int) -> dict[str, object]:
        write_lines(small_folder / "users.jsonl", [answer])
        source = user_source(small_folder, '" [0-9.]+ stars[;.]') | more
        assignments = {"split__knowledge_history_cap": cap, "knowledge__answers__user": source}
        return build_examples(small_scenario(**assignments))["leak_check"]

    assert check(answer, 30)["unverified_sources"] == ["item"]
    with pytest.raises(CommandError, match="(?s)7 samples.*set it to 12"):
        check(answer, 5)
    silent = {name: value for name, value in answer.items() if name != "interactions_seen"}
    assert check(silent, 30)["unverified_sources"] == ["item"]
    with pytest.raises(CommandError, match="(?s)1 samples.*position 8, k_u is 5"):
        check(silent, 5)  # items 0, 4 and 8 are shown


def test_user_answers_without_prompts_are_unverified(small_scenario, small_folder):
    silent = {key: text for key, text in user_answer("bob", 0).items() if key != "prompt"}
    scenario = small_scenario(knowledge__answers__user=user_source(small_folder, " stars;"))
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 0, 1), silent])
    check = build_examples(scenario)["leak_check"]
    assert check == {
        "users_verified_by_prompt": 1,
        "users_by_rule_only": 2,
        "unresolved_answers": {"user": 1},
        "declared_sources": {},
        "unverified_sources": ["item", "user"],
    }
    # A rejected answer is not used, whatever is unknown about it.
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 0, 1), {**silent, "answer": ""}])
    assert build_examples(scenario)["leak_check"]["unverified_sources"] == ["item"]


def test_user_answers_without_a_pattern_are_unverified(small_scenario, small_folder):
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 0, 3)])
    result = build_examples(
        small_scenario(knowledge__answers__user=user_source(small_folder, None))
    )
    assert result["leak_check"]["unverified_sources"] == ["item", "user"]
    assert result["leak_check"]["users_by_rule_only"] == 3
