from __future__ import annotations

import pytest

from preprocessing.prompting.reading import Scratch


@pytest.fixture
def scratch(tmp_path):
    with Scratch(tmp_path / "scratch.sqlite") as opened:
        yield opened


def test_items_have_codes_in_the_order_of_the_catalogue(scratch):
    assert scratch.add_item("b", '"B"', (0, 2)) is None
    assert scratch.add_item("a", "", (0, 3)) is None
    assert scratch.add_item("b", '"Other"', (1, 4)) == (0, 2)
    assert scratch.add_item("c", '"C"', (1, 5)) is None
    assert scratch.item_count == 3
    assert list(scratch.items()) == [
        ("b", '"B"', (0, 2)), ("a", "", (0, 3)), ("c", '"C"', (1, 5)),
    ]  # fmt: skip
    assert scratch.codes(["c", "x", "b", "c"]).tolist() == [2, -1, 0, 2]
    assert scratch.titles([1, 0]) == {0: '"B"', 1: ""}


def test_more_ids_than_one_query_takes(scratch):
    names = [f"item{number}" for number in range(1700)]
    for line, name in enumerate(names):
        scratch.add_item(name, name, (0, line))
    assert scratch.codes(list(reversed(names))).tolist() == list(range(1699, -1, -1))
    assert len(scratch.titles(range(1700))) == 1700


def test_groups_belong_to_a_source(scratch):
    scratch.add_item("i1", "One", (0, 2))
    scratch.add_item("i2", "", (0, 3))
    for line, (entity, group) in enumerate([("i1", "g"), ("i2", "g"), ("i3", "h")], start=2):
        assert scratch.add_member("item", entity, line, group) is None
    assert scratch.add_member("item", "i1", 9, "h") == 2
    assert scratch.add_member("other", "i1", 2, "z") is None
    assert scratch.group_sizes("item") == {"g": 2, "h": 1}
    assert list(scratch.members("item")) == [("i1", "g"), ("i2", "g"), ("i3", "h")]
    assert scratch.groups_of("item", ["i3", "x", "i1"]) == ["h", None, "g"]
    assert list(scratch.groups_of_items("item")) == [(0, "g")]


def test_profiles_and_pseudonyms(scratch):
    assert scratch.add_profile("u", "A sentence.", (1, 2)) is None
    assert scratch.add_profile("u", "Another.", (1, 3)) == (1, 2)
    assert scratch.profiles(["u", "v"]) == {"u": "A sentence."}
    assert [scratch.times_asked(name) for name in ("p", "q", "p", "p")] == [1, 1, 2, 3]
