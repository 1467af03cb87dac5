from __future__ import annotations

import io
import json

import numpy as np
import pytest

from configs.knowledge import SourceAnswers
from configs.prompting import Prompts
from preprocessing.interactions.first_interactions import FirstInteractions
from preprocessing.prompt_templates import (
    load_prompt_scenario,
    prompt_scenario_path,
)
from preprocessing.prompting.questions import questions_of
from preprocessing.prompting.reading import Scratch
from preprocessing.prompting.rendering import (
    CollectiveSource,
    GroupCounts,
    PromptFile,
    in_natural_order,
    merge_groups,
    smoothed_lift,
)


def test_lift_is_observed_over_expected_with_smoothing():
    lifts = smoothed_lift(np.array([1.0, 20.0, 0.0]), np.array([0.05, 5.0, 5.0]), 5.0)
    np.testing.assert_allclose(lifts, [6 / 5.05, 25 / 10, 5 / 10])


def test_over_represented_items_come_before_popular_ones():
    # item 0 is liked by everybody; item 1 mostly in group 0; item 2 once, in group 0
    counts = GroupCounts(groups=2, items=4)
    numbers = [10, 10, 6, 1, 1]
    counts.add(np.repeat([0, 1, 0, 1, 0], numbers), np.repeat([0, 0, 1, 1, 2], numbers))
    counts.add(np.array([1, -1]), np.array([3, 3]))
    ranked = counts.ranked(np.arange(2), smoothing=1.0)
    # lifts: (6+1)/(3.97+1), (1+1)/(.57+1), (10+1)/(11.33+1); 11/(8+1), 2/(.8+1), 2/(2.8+1)
    assert [codes.tolist() for codes in ranked] == [[1, 2, 0], [0, 3, 1]]


def test_merged_groups_are_counted_together():
    counts = GroupCounts(groups=3, items=3)
    counts.add(np.array([0, 1, 1, 2]), np.array([0, 1, 1, 2]))
    ranked = counts.ranked(np.array([0, 0, 2]), smoothing=1.0)
    assert sorted(ranked[0].tolist()) == [0, 1] and ranked[0].tolist()[0] == 1
    assert ranked[1].tolist() == [] and ranked[2].tolist() == [2]


def test_equal_items_keep_the_order_of_the_catalogue():
    counts = GroupCounts(groups=1, items=5)
    counts.add(np.zeros(3, dtype=np.int64), np.array([4, 1, 3]))
    assert counts.ranked(np.arange(1), 5.0)[0].tolist() == [1, 3, 4]


def test_no_interactions_give_no_items():
    counts = GroupCounts(groups=2, items=0)
    counts.add(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    assert [codes.tolist() for codes in GroupCounts(2, 3).ranked(np.arange(2), 1.0)] == [[], []]


NOTHING = (np.empty(0, dtype=np.int64),) * 3


def rows(*triples: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ordered = np.array(sorted(triples))
    return ordered[:, 0], ordered[:, 1], ordered[:, 2]


def test_small_groups_go_to_the_one_with_the_largest_cosine():
    # group 0 likes items 0 and 1, group 1 item 2, group 3 item 1 only
    counts = rows((0, 0, 9), (0, 1, 9), (1, 2, 50), (1, 1, 1), (2, 1, 1), (3, 2, 1), (3, 1, 1))
    merging = merge_groups(np.array([10, 20, 2, 4]), 5, counts)
    # cosines: group 2 with 0: .707, with 1: .02; group 3 with 0: .5, with 1: .72
    assert merging.target.tolist() == [0, 1, 0, 1] and merging.suppressed == []


def test_groups_without_anything_in_common_go_to_the_largest():
    merging = merge_groups(np.array([5, 7, 0, 1]), 5, rows((0, 0, 1), (1, 1, 1), (3, 9, 1)))
    assert merging.target.tolist() == [0, 1, 1, 1]


def test_groups_are_never_merged_into_small_ones():
    merging = merge_groups(np.array([1, 1, 8]), 5, rows((0, 0, 5), (1, 0, 5), (2, 1, 1)))
    assert merging.target.tolist() == [2, 2, 2]


def test_where_all_are_small_they_become_one_or_none():
    assert merge_groups(np.array([2, 3, 1]), 5, NOTHING).target.tolist() == [1, 1, 1]
    assert merge_groups(np.array([2, 3, 1]), 5, NOTHING).suppressed == []
    assert merge_groups(np.array([2, 1]), 5, NOTHING).suppressed == [0]
    assert merge_groups(np.array([0]), 1, NOTHING).suppressed == [0]


def test_large_groups_stay_and_no_groups_are_no_problem():
    assert merge_groups(np.array([5, 6]), 5, NOTHING).target.tolist() == [0, 1]
    assert merge_groups(np.empty(0, dtype=np.int64), 5, NOTHING).target.tolist() == []


@pytest.fixture
def scratch(tmp_path):
    with Scratch(tmp_path / "scratch.sqlite") as opened:
        for code in range(6):
            opened.add_item(f"i{code}", "" if code == 5 else f'"T{code}"', (0, code + 2))
        yield opened


def add_groups(scratch: Scratch, source: str, groups: dict[str, str]) -> None:
    for line, (entity, group) in enumerate(groups.items(), start=2):
        scratch.add_member(source, entity, line, group)


def collective(scratch: Scratch, source: str, kind, kept=None, **prompts) -> CollectiveSource:
    question = question_of(source, kind, {})
    return CollectiveSource(question, kind, Prompts(**prompts), scratch, kept)


def question_of(source: str, kind, more: dict):
    scenario = load_prompt_scenario(prompt_scenario_path("movies"))
    entity = "item" if kind == "item" else "user"
    described = {"entity": entity, "collective": ["later.jsonl"], "grouping": {}} | more
    (question,) = questions_of(source, {source: SourceAnswers(**described)}, scenario, kind)
    return question


def seen_by(histories: dict[str, list[int]]) -> tuple[FirstInteractions, np.ndarray]:
    codes = [code for history in histories.values() for code in history]
    lengths = [len(history) for history in histories.values()]
    seen = FirstInteractions(
        users=list(histories),
        user_of_row=np.repeat(np.arange(len(lengths)), lengths),
        items=[f"i{code}" for code in codes],
        ratings=np.ones(len(codes)),
        liked=np.ones(len(codes), dtype=bool),
    )
    return seen, np.array(codes, dtype=np.int64)


def prompts_of(source: CollectiveSource, scratch: Scratch, folder) -> tuple[dict, dict[str, str]]:
    text = io.StringIO()
    counts = source.write(PromptFile(text, io.StringIO(), scratch, True), folder)
    records = map(json.loads, text.getvalue().splitlines())
    return counts, {record["entity_id"]: record["prompt"] for record in records}


def test_names_are_in_natural_order():
    assert in_natural_order(["10", "2", "g10", "g9", "a", "1"]) == [
        "1",
        "2",
        "10",
        "a",
        "g9",
        "g10",
    ]


def test_user_groups_are_described_by_what_sets_them_apart(scratch, tmp_path):
    # everybody likes item 0; group a also item 1, group b item 2
    members = {f"a{n}": "a" for n in range(3)} | {f"b{n}": "b" for n in range(3)}
    add_groups(scratch, "user_liked", members)
    histories = {user: [0, 1 if group == "a" else 2] for user, group in members.items()}
    seen, codes = seen_by(histories | {"loner": [3]})
    liked = collective(scratch, "user_liked", "liked", minimum_group_users=3)
    liked.add(seen, codes, np.ones(len(codes), dtype=bool))
    counts, prompts = prompts_of(liked, scratch, tmp_path)
    assert counts == {"groups": 2, "prompts": 2, "merged": [], "suppressed": []}
    assert prompts["a"].startswith(
        'The following movies are liked by a group of users: "T1", "T0". Analyze the preferences'
    )
    assert '"T2", "T0"' in prompts["b"]
    assert not list(tmp_path.glob("groups_*"))


def test_disliked_groups_see_only_what_was_disliked(scratch, tmp_path):
    add_groups(scratch, "user_disliked", {"ann": "g"})
    seen, codes = seen_by({"ann": [0, 1, 5]})
    codes = np.where(codes == 5, -1, codes)  # no title
    disliked = collective(scratch, "user_disliked", "disliked", minimum_group_users=1)
    disliked.add(seen, codes, np.array([True, False, False]))
    _, prompts = prompts_of(disliked, scratch, tmp_path)
    assert prompts["g"].startswith('The following movies are rated low by a group of users: "T1".')


def test_small_groups_are_merged_and_the_groups_file_follows(scratch, tmp_path):
    members = {"u1": "1", "u2": "1", "u3": "2", "u4": "2", "u5": "3", "u6": "4", "quiet": "3"}
    add_groups(scratch, "user_liked", members)
    seen, codes = seen_by(
        {"u1": [0], "u2": [0], "u3": [1], "u4": [1], "u5": [1, 2], "u6": [4], "quiet": []}
    )
    liked = collective(scratch, "user_liked", "liked", minimum_group_users=2)
    liked.add(seen, codes, np.ones(len(codes), dtype=bool))
    counts, prompts = prompts_of(liked, scratch, tmp_path)
    # group 3 has two members, but only one contributes; group 4 has nothing in common with any
    assert counts["merged"] == [
        {"group": "3", "into": "2", "members": 2},
        {"group": "4", "into": "1", "members": 1},
    ]
    assert counts["groups"] == counts["prompts"] + len(counts["merged"]) == 4
    assert set(prompts) == {"1", "2"} and '"T2"' in prompts["2"] and '"T4"' in prompts["1"]
    assert (tmp_path / "groups_user_liked.csv").read_text().splitlines() == [
        "user_id,group_id", "u1,1", "u2,1", "u3,2", "u4,2", "u5,2", "u6,1", "quiet,2",
    ]  # fmt: skip


def test_too_few_users_are_never_asked_about(scratch, tmp_path):
    add_groups(scratch, "user_liked", {"u1": "1", "u2": "2"})
    seen, codes = seen_by({"u1": [0], "u2": [1]})
    liked = collective(scratch, "user_liked", "liked", minimum_group_users=3)
    liked.add(seen, codes, np.ones(2, dtype=bool))
    counts, prompts = prompts_of(liked, scratch, tmp_path)
    assert prompts == {} and counts["suppressed"] == ["1"]
    assert counts["groups"] == len(counts["merged"]) + len(counts["suppressed"])


def test_item_groups_show_attested_items_first_and_are_never_empty(scratch, tmp_path):
    groups = {"i0": "x", "i1": "x", "i2": "x", "i3": "y", "i4": "y", "i5": "z", "gone": "z"}
    add_groups(scratch, "item", groups)
    seen, codes = seen_by({"u": [2, 4], "v": [2, 1], "w": [3]})
    source = collective(scratch, "item", "item", representative_titles=2)
    source.add(seen, codes, np.array([True, True, True, True, False]))
    counts, prompts = prompts_of(source, scratch, tmp_path)
    assert 'consisting of "T2", "T1", describe' in prompts["x"]
    assert 'consisting of "T4", "T3", describe' in prompts["y"]
    # group z has no item with a title
    assert counts["merged"] == [{"group": "z", "into": "x", "members": 2}]
    assert "gone,x" in (tmp_path / "groups_item.csv").read_text().splitlines()


def test_items_that_are_filtered_out_are_never_shown(scratch, tmp_path):
    groups = {"i0": "x", "i1": "x", "i2": "x", "i3": "y", "i4": "z"}
    add_groups(scratch, "item", groups)
    seen, codes = seen_by({"u": [2, 1], "v": [2]})
    source = collective(scratch, "item", "item", kept=["i2", "i1", "i4", "elsewhere"])
    source.add(seen, codes, np.ones(len(codes), dtype=bool))
    counts, prompts = prompts_of(source, scratch, tmp_path)
    assert 'consisting of "T2", "T1", describe' in prompts["x"]
    assert 'consisting of "T4", describe' in prompts["z"]
    assert "y" not in prompts and [merge["group"] for merge in counts["merged"]] == ["y"]


def test_links_are_asked_for_each_titled_member_of_a_group(scratch, tmp_path):
    groups = {"i3": "x", "i0": "x", "i5": "x", "i1": "y", "i2": "y", "i4": "y"}
    add_groups(scratch, "links", groups)
    question = question_of("links", "item", {"links": {"names": 4, "until": 2016}})
    kept = ["i0", "i3", "i5", "i2", "i4"]
    asking = CollectiveSource(question, "item", Prompts(representative_titles=1), scratch, kept)
    seen, codes = seen_by({"u": [4]})
    asking.add(seen, codes, np.ones(1, dtype=bool))
    text = io.StringIO()
    counts = asking.write(PromptFile(text, io.StringIO(), scratch, True), tmp_path)
    assert counts["prompts"] == counts["groups"] == 2
    records = {
        record["entity_id"]: record for record in map(json.loads, text.getvalue().splitlines())
    }
    assert {group: record["members"] for group, record in records.items()} == {
        "x": ["i0", "i3"],  # i5 has no title
        "y": ["i2", "i4"],  # i1 is filtered out; i4, which somebody liked, stays in its place
    }
    assert records["x"]["prompt"].startswith(
        "Answer the question below for each of these movies, each by itself: "
        '1. "T0"; 2. "T3". Name 4 other movies (released by 2016) that people who love this movie'
    )
    assert records["x"]["prompt"].endswith(
        'Best first. Answer with a JSON object {"links": {"1": [titles], "2": [titles]}}.'
    )
