from __future__ import annotations

import json
import random

import pytest

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing import dead_letters as dead_letter_runs
from preprocessing.dead_letters import read_dead_letters
from preprocessing.grouping import building
from preprocessing.grouping.plan import groups_directory
from preprocessing.grouping.step import make_groups
from preprocessing.steps import only_writer


def test_every_entity_is_in_a_group_or_left_out_for_a_reason(grouping, read_groups, capsys):
    scenario = grouping()
    result = make_groups(scenario)
    folder = groups_directory(scenario, "item").path
    groups = read_groups(folder / "groups.csv")
    assert sorted(groups) == ["10", "100", "200", "7", "9"]
    described = result["sources"]["item"]
    assert described["counts"] == {
        "entities": 5,
        "grouped": 5,
        "left_out": {"filtered_out": 0, "without_title_and_none_near": 0},
        "without_features": 0,
        "outside_catalogue": 0,
    }
    sizes = described["groups"]
    assert sizes["number"] == len(set(groups.values())) >= 2
    assert sizes["entities_per_call"] == round(5 / sizes["number"], 2) and sizes["largest"] <= 3
    # k_u is 2 for ann and bob, 1 for eve
    assert described["leak_rule"]["interactions_used"] == 5
    assert described["records_read"] == {"interactions": 18, "catalogue": 5}
    # ann liked 7, bob 100; eve liked nothing
    users = read_groups(groups_directory(scenario, "user_liked").path / "groups.csv")
    assert sorted(users) == ["ann", "bob"]
    assert result["sources"]["user_liked"]["counts"]["left_out"] == {
        "without_liked_titles": 1,
        "fewer_than_minimum_group_users": 0,
    }
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["counts"] == described["counts"] and manifest["step"] == "group item"
    assert sorted(manifest["files"]) == ["dead_letters.jsonl", "groups.csv"]
    letters = list(read_dead_letters(folder / "dead_letters.jsonl"))
    assert [letter["reason"] for letter in letters] == ["duplicate_interaction"]
    assert described["dead_letters"] == 1
    shown = capsys.readouterr().err
    assert "group item: 5 of 5 items" in shown and "1 without liked titles" in shown


def test_all_sources_list_what_was_rejected_and_no_scratch_file_is_left(
    grouping, small_folder, monkeypatch
):
    monkeypatch.setattr(dead_letter_runs, "_LETTERS_PER_RUN", 2)
    path = small_folder / "interactions.csv"
    path.write_text(path.read_text() + ",7,3,5\n" * 7)
    scenario = grouping()
    folders = [
        groups_directory(scenario, source).path for source in make_groups(scenario)["sources"]
    ]
    first, *others = [(folder / "dead_letters.jsonl").read_text() for folder in folders]
    lines = [json.loads(line)["line"] for line in first.splitlines()]
    assert lines == sorted(lines) and len(lines) == 8
    assert others and all(other == first for other in others)
    assert set(folders[0].parent.iterdir()) == set(folders)


def test_scratch_folders_of_killed_runs_go_and_those_of_others_stay(grouping):
    scenario = grouping()
    parent = groups_directory(scenario, "item").path.parent
    left, held = parent / ".scratch-left", parent / ".scratch-held"
    for folder in (left, held):
        folder.mkdir(parents=True)
        (folder / "letters").touch()
    with only_writer(held):
        make_groups(scenario)
        assert not left.exists() and (held / "letters").exists()
        left.mkdir()
        with only_writer(parent), pytest.raises(CommandError, match="another preprocessing run"):
            make_groups(scenario, force=True)
        assert left.exists()
    make_groups(scenario)
    assert not left.exists() and not held.exists()


def test_a_second_run_does_nothing_and_force_repeats_it_to_the_byte(grouping, capsys):
    scenario = grouping()
    make_groups(scenario)
    path = groups_directory(scenario, "item").path / "groups.csv"
    before = path.read_bytes()
    again = make_groups(scenario)
    assert again["skipped"] and "group item: unchanged, skipped" in capsys.readouterr().err
    assert not make_groups(scenario, force=True)["skipped"]
    assert path.read_bytes() == before


def test_only_what_changed_is_made_again(grouping):
    make_groups(grouping())
    changed = grouping(knowledge__answers__user_liked__grouping__seed=5)
    skipped = {source: made["skipped"] for source, made in make_groups(changed)["sources"].items()}
    assert skipped == {"item": True, "user_liked": False}
    other_cap = grouping(split__knowledge_history_cap=1)
    assert not any(made["skipped"] for made in make_groups(other_cap)["sources"].values())


def test_the_order_of_the_rows_makes_no_difference(grouping, small_folder):
    scenario = grouping(knowledge__answers__item__grouping__features=["co_occurrence", "text"])
    make_groups(scenario)
    paths = [groups_directory(scenario, source).path for source in ("item", "user_liked")]
    before = [(path / "groups.csv").read_bytes() for path in paths]
    for name in ("interactions.csv", "catalogue.csv"):
        header, *rows = (small_folder / name).read_text().splitlines()
        random.Random(3).shuffle(rows)
        (small_folder / name).write_text("\n".join([header, *rows]) + "\n")
    assert not make_groups(scenario)["skipped"]
    assert [(path / "groups.csv").read_bytes() for path in paths] == before


def test_nothing_after_the_boundary_changes_a_group(grouping, small_folder):
    scenario = grouping()
    make_groups(scenario)
    paths = [groups_directory(scenario, source).path for source in ("item", "user_liked")]
    before = [(path / "groups.csv").read_bytes() for path in paths]
    path = small_folder / "interactions.csv"
    seen = ("90", "100", "10", "11", "50")  # times of the first k_u interactions, ties included
    lines = path.read_text().splitlines()
    changed = [
        line if index == 0 or line.split(",")[3] in seen
        else ",".join([line.split(",")[0], "999", "5", line.split(",")[3]])
        for index, line in enumerate(lines)
    ]  # fmt: skip
    assert sum(line not in lines for line in changed) >= 10
    path.write_text("\n".join(changed) + "\n")
    assert not make_groups(scenario)["skipped"]
    assert [(path / "groups.csv").read_bytes() for path in paths] == before


@pytest.mark.parametrize(
    ("changed", "log"),
    [
        ({"data__interactions__columns__order": "turn"}, {}),
        ({"data__positive_rating": 3.0}, {}),
        ({}, {"ann,7,4.5,10": "ann,9,4.5,10"}),
    ],
)
def test_names_change_with_what_is_known_of_the_members(
    grouping, small_folder, read_groups, changed, log
):
    everybody = {
        "knowledge__answers__user_liked__grouping__maximum_size": 9,
        "knowledge__answers__item__grouping__maximum_size": 99,
    }
    path = small_folder / "interactions.csv"
    header, *rows = path.read_text().splitlines()
    # `turn` runs against the time, so other interactions are the first ones by it.
    rows = [f"{row},{-number}" for number, row in enumerate(rows)]
    path.write_text("\n".join([f"{header},turn", *rows]) + "\n")
    make_groups(grouping(**everybody))
    folders = {
        source: groups_directory(grouping(), source).path for source in ("item", "user_liked")
    }
    before = {source: read_groups(path / "groups.csv") for source, path in folders.items()}
    for old, new in log.items():
        path.write_text(path.read_text().replace(old, new))
    make_groups(grouping(**everybody, **changed))
    for source, folder in folders.items():
        after = read_groups(folder / "groups.csv")
        assert not set(after.values()) & set(before[source].values())


def test_what_the_filter_takes_out_is_not_used(grouping, small_folder):
    scenario = grouping(data__filter__minimum_user_interactions=4)
    used = make_groups(scenario)["sources"]["item"]["leak_rule"]["interactions_used"]
    assert used == 4  # eve has one interaction and is left out


def test_items_that_only_interactions_name_join_those_with_titles(
    grouping, small_folder, read_groups
):
    path = small_folder / "interactions.csv"
    path.write_text(path.read_text().replace("ann,7,4.5,10", "ann,ghost,4.5,10"))
    scenario = grouping()
    described = make_groups(scenario)["sources"]["item"]
    groups = read_groups(groups_directory(scenario, "item").path / "groups.csv")
    assert described["counts"]["outside_catalogue"] == 1 and "ghost" in groups
    assert any(group == groups["ghost"] for item, group in groups.items() if item != "ghost")


def test_too_few_users_make_no_group(grouping, read_groups, capsys):
    scenario = grouping(
        prompts__minimum_group_users=3, knowledge__answers__user_liked__grouping__maximum_size=5
    )
    described = make_groups(scenario, sources=["user_liked"])["sources"]["user_liked"]
    assert described["counts"]["left_out"]["fewer_than_minimum_group_users"] == 2
    assert described["groups"]["number"] == 0
    assert read_groups(groups_directory(scenario, "user_liked").path / "groups.csv") == {}
    assert "2 fewer than minimum group users" in capsys.readouterr().err


def test_items_that_the_filter_leaves_out_are_in_no_group(grouping, read_groups, capsys):
    scenario = grouping(data__filter__minimum_item_interactions=3)
    described = make_groups(scenario, sources=["item"])["sources"]["item"]
    # 10 and 9 have four interactions each; 7, 100 and 200 fewer than three
    assert sorted(read_groups(groups_directory(scenario, "item").path / "groups.csv")) == [
        "10",
        "9",
    ]
    assert described["counts"]["entities"] == 5 and described["counts"]["grouped"] == 2
    assert described["counts"]["left_out"] == {"filtered_out": 3, "without_title_and_none_near": 0}
    assert "2 of 5 items" in (shown := capsys.readouterr().err) and "3 filtered out" in shown


@pytest.mark.parametrize(("maximum", "smallest"), [(3, 2), (80, 5)])
def test_no_group_of_items_is_needlessly_small(grouping, maximum, smallest):
    scenario = grouping(knowledge__answers__item__grouping__maximum_size=maximum)
    described = make_groups(scenario, sources=["item"])["sources"]["item"]
    assert described["counts"]["grouped"] == 5 and described["groups"]["smallest"] == smallest


def test_a_run_that_breaks_leaves_nothing_and_the_next_one_is_undisturbed(grouping, monkeypatch):
    undisturbed = grouping()
    make_groups(undisturbed)
    expected = (groups_directory(undisturbed, "item").path / "groups.csv").read_bytes()
    scenario = grouping(work_dir=undisturbed.work_dir + "2")
    with monkeypatch.context() as broken:
        broken.setattr(building, "group_names", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make_groups(scenario)
    directory = groups_directory(scenario, "item").path
    assert list(directory.parent.iterdir()) == []
    make_groups(scenario)
    assert (directory / "groups.csv").read_bytes() == expected


def test_nothing_to_group_is_no_mistake(small_scenario):
    assert make_groups(small_scenario())["sources"] == {}


def test_missing_columns_are_named(grouping):
    with pytest.raises(ConfigurationError, match="data.catalogue.title"):
        make_groups(grouping(data__catalogue__title="name"))
