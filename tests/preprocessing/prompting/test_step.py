from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from configs.command_line import CommandError, RejectedInput
from configs.loading import ConfigurationError, load_scenario, override_scenario
from configs.scenario import Scenario
from preprocessing.grouping.plan import groups_file
from preprocessing.prompting.step import build_prompts, plan_prompts
from preprocessing.prompting.token_costs import Prices
from tests.scenarios import write_tiny_inputs


def test_sources_are_asked_as_their_answers_are_configured(small_scenario, small_folder):
    user = {"entity": "user", "individual": ["later.jsonl"]}
    scenario = small_scenario(prompts__scenario="books", knowledge__answers__user=user)
    plan = plan_prompts(scenario, None)
    asked = [question.source for entity in ("item", "user") for question in plan.individual(entity)]
    assert asked == ["item", "user"] and list(plan.collective) == ["item"]
    assert plan.input_files[str(small_folder / "groups.csv")] == "knowledge.answers.item.groups"
    only_user = plan_prompts(scenario, ["user"])
    assert only_user.collective == {} and only_user.individual("item") == []
    assert str(small_folder / "groups.csv") not in only_user.input_files


def test_what_answers_cost_does_not_change_the_prompts(small_scenario):
    plans = [
        plan_prompts(small_scenario(prompts__scenario="books", **more), None)
        for more in (
            {},
            {"prompts__expected_answer_tokens": 7, "prompts__expected_name_tokens": 9},
            {"prompts__title_characters": 99},
        )
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
    assert list(plan.collective) == ["user_liked"] and plan.kinds == {"user_liked": "liked"}
    made = small_folder / "work" / "groups" / "user_liked" / "groups.csv"
    assert plan.groups == {"user_liked": str(made)}


def test_counts_reconcile_and_costs_are_told(asking, small_folder, capsys):
    result = build_prompts(asking(), prices=Prices(1.0, 2.0))
    folder = small_folder / "work" / "prompts"
    records = [json.loads(line) for line in (folder / "prompts.jsonl").open(encoding="utf-8")]
    assert result["prompts"] == len(records) == 13 and result["output"] == str(
        folder / "prompts.jsonl"
    )
    assert [(row["source"], row["extraction"], row["prompts"]) for row in result["costs"]] == [
        ("item", "individual", 5),
        ("user", "individual", 3),
        ("item", "collective", 2),
        ("user_liked", "collective", 1),
        ("user_disliked", "collective", 2),
        ("total", "", 13),
    ]
    tokens = sum(-(-len(record["prompt"].encode()) // 4) for record in records)
    total = result["costs"][-1]
    assert (total["prompt_tokens"], total["answer_tokens"]) == (tokens, 13 * 150)
    assert total["cost"] == pytest.approx((tokens + 2 * 13 * 150) / 1e6)
    assert result["calls"]["user"]["individual_per_collective"] == 1.0
    for counts in result["sources"].values():
        if "collective" in counts:
            groups = counts["collective"]
            accounted = groups["prompts"] + len(groups["merged"]) + len(groups["suppressed"])
            assert groups["groups"] == accounted
    shown = capsys.readouterr().err
    assert "user_liked: merged small or empty groups b into a" in shown and "total" in shown
    for name in ("ann", "bob", "eve"):
        assert name not in shown


def test_a_second_run_does_nothing_and_the_same_inputs_give_the_same_bytes(asking, small_folder):
    assert not build_prompts(asking())["skipped"]
    path = small_folder / "work" / "prompts" / "prompts.jsonl"
    first = path.read_bytes()
    assert build_prompts(asking(prompts__expected_answer_tokens=9))["skipped"]
    assert not build_prompts(asking(), force=True)["skipped"]
    assert path.read_bytes() == first
    again = build_prompts(asking(work_dir=str(small_folder / "elsewhere")))
    assert again["sources"] == build_prompts(asking())["sources"]
    assert (small_folder / "elsewhere" / "prompts" / "prompts.jsonl").read_bytes() == first


def test_dry_run_counts_and_writes_nothing(asking, small_folder):
    out = small_folder / "out.jsonl"
    result = build_prompts(asking(), dry_run=True, out=out)
    assert not (small_folder / "work").exists() and not out.exists()
    assert result["would_skip"] is False
    done = build_prompts(asking(), out=out)
    assert done["costs"] == result["costs"] and done["output"] == str(out)
    assert build_prompts(asking(), dry_run=True)["would_skip"] is True


def test_prompts_do_not_replace_answers(asking, small_folder):
    answers, prompts = small_folder / "answers.jsonl", small_folder / "own.jsonl.gz"
    for text in (
        '{"source": "item", "entity_id": "1", "answer": "x", "prompt_sha256": "5e"}\n',
        '{"custom_id": "item/1", "response": {"body": {}}}\n',
        '{"1": {"prompt": "p", "ans": "x"}}',
        "\nanything",
    ):
        answers.write_text(text)
        with pytest.raises(CommandError, match="answers.jsonl: holds something else"):
            build_prompts(asking(), out=answers)
        assert answers.read_text() == text
    with pytest.raises(CommandError, match="is a folder; name a file"):
        build_prompts(asking(), out=small_folder)
    for _ in range(2):
        build_prompts(asking(), out=prompts)
    assert prompts.read_text().startswith("{")
    answers.write_text("")
    build_prompts(asking(), out=answers)
    assert answers.read_text() == prompts.read_text()


def test_copies_lie_together(asking, small_folder):
    out = small_folder / "batch" / "may.jsonl"
    build_prompts(asking(), out=out)
    folder = small_folder / "work" / "prompts"
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "may.custom_ids.csv", "may.groups_user_liked.csv", "may.jsonl",
    ]  # fmt: skip
    assert out.read_bytes() == (folder / "prompts.jsonl").read_bytes()
    assert (out.parent / "may.custom_ids.csv").stat().st_mode & 0o077 == 0
    with pytest.raises(CommandError, match="is a folder"):
        build_prompts(asking(), out=out.parent)


def test_strict_refuses_rejected_records(asking):
    with pytest.raises(RejectedInput) as raised:
        build_prompts(asking(), strict=True)
    assert raised.value.result["dead_letters"] == 1
    assert list(raised.value.result["rejected_by_reason"].values()) == [
        {"duplicate_interaction": 1}
    ]


def test_items_alone_need_no_interactions_to_be_read(asking):
    result = build_prompts(asking(knowledge__answers__item__collective=[]), sources=["item"])
    assert [row["source"] for row in result["costs"]] == ["item", "total"]
    assert len(result["inputs_read"]) == 1


def test_no_interaction_is_shown_where_the_cap_is_zero(asking):
    result = build_prompts(asking(split__knowledge_history_cap=0))
    users = result["sources"]["user"]["individual"]
    assert (users["prompts"], users["without_history"]) == (0, 3)
    assert result["sources"]["user_liked"]["collective"]["suppressed"] == ["a"]


def test_missing_files_are_named(asking, small_folder):
    (small_folder / "user_groups.csv").unlink()
    with pytest.raises(ConfigurationError, match="knowledge.answers.user_(dis)?liked.groups"):
        build_prompts(asking())


GROUPED = {"item": ("item", 8), "user_liked": ("user", 12), "user_disliked": ("user", 12)}


@pytest.fixture
def grouped(tmp_path) -> Scenario:
    """The tiny scenario with groups that are made here."""
    answers = {
        source: {"entity": entity, "collective": ["a.jsonl"], "grouping": {"maximum_size": size}}
        for source, (entity, size) in GROUPED.items()
    }
    return load_scenario(
        write_tiny_inputs(tmp_path),
        [
            "prompts.scenario=movies",
            "knowledge.sources=[item]",
            f"knowledge.answers={json.dumps(answers)}",
        ],
    )


def test_groups_are_made_first_and_every_member_finds_a_prompt(grouped, read_prompts, capsys):
    result = build_prompts(grouped)
    shown = capsys.readouterr().err
    assert shown.index("group item: 60 of 60 items") < shown.index("prompts: ")
    prompts = read_prompts(Path(result["output"]))
    assert not list(Path(result["output"]).parent.glob("groups_*"))
    for source in GROUPED:
        path = groups_file(grouped, source)
        assert path is not None
        with open(path, encoding="utf-8") as file:
            groups = {row["group_id"] for row in csv.DictReader(file)}
        asked = {group: prompt for (name, _, group), prompt in prompts.items() if name == source}
        assert set(asked) == groups and len(groups) > 2
        assert all('"Film ' in prompt for prompt in asked.values())
        counted = result["sources"][source]["collective"]
        assert counted["merged"] == [] and counted["suppressed"] == []
    assert build_prompts(grouped)["skipped"]


def test_a_dry_run_makes_no_groups_that_last(grouped):
    planned = build_prompts(grouped, dry_run=True)
    assert not Path(grouped.work_dir).exists()
    done = build_prompts(grouped)
    assert planned["costs"] == done["costs"] and not planned["would_skip"]
    assert build_prompts(grouped, dry_run=True)["would_skip"]


def test_other_groups_are_other_prompts(grouped):
    build_prompts(grouped)
    changed = override_scenario(grouped, {"knowledge.answers.item.grouping.maximum_size": 5})
    again = build_prompts(changed)
    assert not again["skipped"] and again["sources"]["item"]["collective"]["groups"] >= 12


def test_answers_that_may_be_cut_off_are_warned_about(grouped, capsys):
    names = {"links": {"names": 20}, "grouping": {"maximum_size": 12}}
    described = {"entity": "item", "collective": ["a.jsonl"], **names}
    scenario = override_scenario(grouped, {"knowledge.answers.links": described})
    result = build_prompts(scenario, sources=["links"], dry_run=True)
    (written,) = result["costs"][:-1]
    assert (written["extraction"], written["answer_tokens"]) == ("collective", 58 * 20 * 6)
    shown = capsys.readouterr().err  # 58 films have a title, 11 of the largest group
    assert "warning: links, collective: an answer may take 1,320 tokens, and" in shown
    enough = override_scenario(scenario, {"generation.max_tokens": 1320})
    build_prompts(enough, sources=["links"])
    assert "warning" not in capsys.readouterr().err
