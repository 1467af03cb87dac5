from __future__ import annotations

from preprocessing.grouping.plan import groups_directory, groups_file


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
