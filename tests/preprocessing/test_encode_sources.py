from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from configs.command_line import CommandError
from preprocessing.encode import default_sources, encode
from preprocessing.grouping.plan import groups_file
from preprocessing.grouping.step import make_groups
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory
from tests.preprocessing.answers.small_files import record
from tests.preprocessing.small_data import ANSWERS, GROUP_ANSWERS, letters_of, write_lines


def test_which_sources_are_encoded(small_scenario, small_folder):
    users = {"entity": "user", "individual": [str(small_folder / "users.jsonl")]}
    write_lines(
        small_folder / "users.jsonl",
        [record("ann", "likes films", source="user")],
    )
    scenario = small_scenario(knowledge__answers__user=users, knowledge__sources=["user"])
    assert default_sources(scenario) == ["user"]
    assert default_sources(
        small_scenario(
            knowledge__answers__user=users, knowledge__sources=["user"], model__match="means"
        )
    ) == ["user", "item"]
    without_adapter = small_scenario(
        knowledge__answers__user=users, knowledge__sources=["user"], model__adapter="none"
    )
    assert default_sources(without_adapter) == ["user"]
    several = small_scenario(
        knowledge__answers__user=users,
        knowledge__answers__text={"entity": "item", "metadata": ["title"]},
        knowledge__answers__noise={"entity": "item", "random": {}},
        knowledge__sources=["user"],
        model__adapter="none",
        model__match="means",
        model__prior=True,
        model__knowledge_match={"sources": ["noise", "item"]},
        model__knowledge_prior={"sources": ["item", "text"]},
    )
    assert default_sources(several) == ["user", "noise", "item", "text"]
    result = encode(scenario)
    assert list(result["sources"]) == ["user"]
    assert read_knowledge(scenario.work_dir, "user").vectors.shape == (1, 3)
    assert list(encode(scenario, sources=["item", "item"])["sources"]) == ["item"]


def test_groups_that_are_made_here_are_made_first(small_scenario, small_folder, capsys):
    made = {
        "entity": "item",
        "collective": [str(small_folder / "group_answers.jsonl")],
        "grouping": {"maximum_size": 3, "features": ["text"]},
    }
    scenario = small_scenario(knowledge__answers__item=made)
    planned = encode(scenario, dry_run=True)["sources"]
    assert [(plan["step"], plan["would_skip"]) for plan in planned] == [
        ("group item", False),
        ("encode item", False),
    ]
    assert not Path(scenario.work_dir).exists()
    make_groups(scenario)
    path = groups_file(scenario, "item")
    assert path is not None
    rows = Path(path).read_text().splitlines()[1:]
    groups = dict(row.split(",") for row in rows)
    answers = [
        record(group, f"quiet films {n} of war", extraction="collective")
        for n, group in enumerate(sorted(set(groups.values())))
    ]
    write_lines(small_folder / "group_answers.jsonl", answers)
    shutil.rmtree(scenario.work_dir)
    result = encode(scenario)["sources"]["item"]
    shown = capsys.readouterr().err
    assert shown.index("group item: 5 of 5 items") < shown.index("encode item: 2 answers")
    assert (result["collective_entities"], result["entities_without_answer"]) == (5, 0)
    assert encode(scenario)["skipped"]
    planned = encode(scenario, dry_run=True)["sources"]
    assert [(plan["step"], plan["would_skip"]) for plan in planned] == [("encode item", True)]
    # without known interactions the groups have other names: answers about the old are not used
    other = small_scenario(knowledge__answers__item=made, split__knowledge_history_cap=0)
    with pytest.raises(CommandError, match="groups to which nobody belongs"):
        encode(other)


def test_one_answer_file_serves_all_sources(small_scenario, small_folder):
    plain = small_scenario()
    encode(plain)
    alone = read_knowledge(plain.work_dir, "item")
    users = [
        {"source": "user", "entity_id": name, "extraction": "individual", "answer": text}
        for name, text in (("ann", "likes quiet drama"), ("bob", "likes loud space battle"))
    ]
    factors = {"genre": "family drama", "mood": "quiet"}
    film = {**ANSWERS[0], "source": "film", "factors": factors}
    shared = str(small_folder / "all.jsonl")
    records = [users[0], *ANSWERS, film, *GROUP_ANSWERS, {**film, "entity_id": "9"}, users[1]]
    write_lines(small_folder / "all.jsonl", records)
    scenario = small_scenario(
        work_dir=str(small_folder / "shared"),
        knowledge__answers__item__individual=[shared],
        knowledge__answers__item__collective=[shared],
        knowledge__answers__user={"entity": "user", "individual": [shared]},
        knowledge__answers__film={
            "entity": "item", "individual": [shared], "factors": ["genre", "mood"],
        },
    )  # fmt: skip
    result = encode(scenario, sources=["item", "user", "film_genre"], strict=True)
    counts = {
        name: [
            source[key] for key in ("records_in", "records_out", "dead_letters", "other_sources")
        ]
        for name, source in result["sources"].items()
    }
    # item reads the file twice: 3 individual, 2 collective answers of 9 lines each
    assert counts == {
        "item": [5, 5, 0, 13], "user": [2, 2, 0, 7], "film_genre": [2, 2, 0, 7],
    }  # fmt: skip
    assert result["other_sources"] == 27
    together = read_knowledge(scenario.work_dir, "item")
    assert (together.entity_ids, together.group_ids) == (alone.entity_ids, alone.group_ids)
    np.testing.assert_array_equal(together.vectors, alone.vectors)
    manifest = json.loads(WorkDirectory(scenario.work_dir).knowledge("user").manifest.read_text())
    assert manifest["counts"]["other_sources"] == 7


def test_unknown_sources_and_broken_lines_of_a_shared_file_are_dead_letters_once(
    small_scenario, small_folder
):
    path = small_folder / "answers.jsonl"
    strange = [{**answer, "source": "film"} for answer in (ANSWERS[0], GROUP_ANSWERS[0])]
    write_lines(path, [*ANSWERS, *GROUP_ANSWERS, *strange])
    with path.open("a") as file:
        file.write("{not json\n")
    scenario = small_scenario(knowledge__answers__item__collective=[str(path)])
    result = encode(scenario)
    assert letters_of(scenario) == [
        ("answers.jsonl", 6, "source_mismatch"),
        ("answers.jsonl", 7, "source_mismatch"),
        ("answers.jsonl", 8, "malformed_json"),
    ]
    assert (result["records_in"], result["records_out"], result["other_sources"]) == (8, 5, 8)


def test_a_file_of_another_source_only_is_a_mistake(small_scenario, small_folder):
    write_lines(
        small_folder / "answers.jsonl", [{**answer, "source": "user"} for answer in ANSWERS]
    )
    user = {"entity": "user", "individual": [str(small_folder / "answers.jsonl")]}
    scenario = small_scenario(
        knowledge__answers__user=user,
        knowledge__answers__item={**user, "entity": "item"},
    )
    with pytest.raises(CommandError, match="answers.item: all 3 answers in .* of other sources"):
        encode(scenario)
