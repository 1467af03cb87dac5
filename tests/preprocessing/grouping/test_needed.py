from __future__ import annotations

from preprocessing.grouping.plan import groups_directory, groups_file
from preprocessing.grouping.step import groups_at_hand, make_needed_groups, unfinished_groups


def test_needed_groups_are_made_once(grouping, capsys):
    scenario = grouping(knowledge__answers__user={"entity": "user", "individual": ["a.jsonl"]})
    assert unfinished_groups(scenario, ["user", "item", "user_liked"]) == ["item", "user_liked"]
    make_needed_groups(scenario, ["user", "item"])
    assert unfinished_groups(scenario, ["user", "item", "user_liked"]) == ["user_liked"]
    assert "group item: 5 of 5" in capsys.readouterr().err
    make_needed_groups(scenario, ["user"])
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
