from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from configs.scenario import Scenario
from preprocessing.records.item_tables import read_item_attributes
from preprocessing.records.layout import WorkDirectory
from tests.scenarios import (
    CITIES,
    ITEMS,
    ITEMS_WITH_ANSWER,
    ITEMS_WITH_GROUP,
    KNOWLEDGE_ONLY_ITEMS,
    USERS,
    USERS_WITH_ANSWER,
    USERS_WITH_PROFILE,
    rich_scenario,
)
from trainer.evaluation.part_scores import build_slices
from trainer.evaluation.score_table import ScoreTable
from trainer.evaluation.slices import count_groups, number_groups, value_groups

Groups = dict[str, set[int]]


def scenario() -> Scenario:
    return rich_scenario(
        evaluation__user_activity_bounds=[2, 6],
        evaluation__item_popularity_bounds=[1, 20],
        evaluation__number_groups=2,
        evaluation__largest_groups=2,
    )


def rows() -> pd.DataFrame:
    """A row for every item, those of no catalogue included, and an unknown one; all users."""
    items = [*ITEMS, *KNOWLEDGE_ONLY_ITEMS, "never seen"]
    users = [(*USERS, "stranger")[n % (len(USERS) + 1)] for n in range(len(items))]
    number = {user: n for n, user in enumerate(USERS)}
    known = [user in USERS_WITH_PROFILE for user in users]
    return pd.DataFrame(
        {
            "user_id": users,
            "item_id": items,
            "position": np.arange(len(items)) % 9,
            "profile_city": [
                list(CITIES[number[user] % 3 : number[user] % 4]) if is_known else []
                for user, is_known in zip(users, known, strict=True)
            ],
            "profile_age": [
                20.0 + number[user] if is_known and number[user] % 5 else np.nan
                for user, is_known in zip(users, known, strict=True)
            ],
        }
    )


@pytest.fixture
def divided() -> Iterator[Callable[[str], Groups]]:
    with ScoreTable(pa.Table.from_pandas(rows(), preserve_index=False)) as table:

        def divide(name: str) -> Groups:
            (division,) = build_slices([name], table, scenario())
            assert division.name == name
            groups: Groups = {group: set() for group in division.groups}
            for batch in table.batches(["row", division.column]):
                members = division.members(batch)
                for row, group in zip(batch["row"][members.rows], members.groups, strict=True):
                    groups[division.groups[group]].add(int(row))
            return groups

        yield divide


def rows_where(column: str, holds: Callable[[object], bool]) -> set[int]:
    return {row for row, value in enumerate(rows()[column]) if holds(value)}


def test_user_activity_and_cold_users_go_by_earlier_interactions(divided) -> None:
    assert divided("user_activity") == {
        "0-1": rows_where("position", lambda count: count < 2),
        "2-5": rows_where("position", lambda count: 2 <= count < 6),
        "6+": rows_where("position", lambda count: count >= 6),
    }
    assert divided("cold_user") == {
        "cold": rows_where("position", lambda count: count < 5),
        "warm": rows_where("position", lambda count: count >= 5),
    }


def test_popularity_and_cold_items_go_by_training_interactions(divided) -> None:
    known = read_item_attributes(WorkDirectory(scenario().work_dir).examples.item_attributes)
    counts = dict(zip(known.item_ids, known.rating_count, strict=True))
    groups = divided("item_popularity")
    assert groups == {
        "0": rows_where("item_id", lambda item: counts.get(item, 0) == 0),
        "1-19": rows_where("item_id", lambda item: 1 <= counts.get(item, 0) < 20),
        "20+": rows_where("item_id", lambda item: counts.get(item, 0) >= 20),
    }
    assert all(groups.values())
    cold = divided("cold_item")
    assert cold["cold"] == groups["0"] and cold["warm"] == groups["1-19"] | groups["20+"]


def test_knowledge_of_items_has_an_origin(divided) -> None:
    groups = divided("knowledge.item")
    individual = {*ITEMS_WITH_ANSWER, KNOWLEDGE_ONLY_ITEMS[0]}
    group_items = {*ITEMS_WITH_GROUP, KNOWLEDGE_ONLY_ITEMS[1]}
    assert groups == {
        "individual": rows_where("item_id", lambda item: item in individual),
        "group": rows_where("item_id", lambda item: item in group_items),
        "missing": rows_where("item_id", lambda item: item not in individual | group_items),
    }
    assert len(groups["missing"]) == 2


def test_knowledge_of_users_has_an_origin(divided) -> None:
    assert divided("knowledge.user") == {
        "individual": rows_where("user_id", lambda user: user in USERS_WITH_ANSWER),
        "group": set(),
        "missing": rows_where("user_id", lambda user: user not in USERS_WITH_ANSWER),
    }


def test_an_item_counts_for_each_of_its_values(divided) -> None:
    known = read_item_attributes(WorkDirectory(scenario().work_dir).examples.item_attributes)
    genres = dict(zip(known.item_ids, known.categorical["genres"], strict=True))
    groups = divided("item.genres")
    *largest, others, missing = groups
    assert len(largest) == 2 and (others, missing) == ("(others)", "(missing)")
    for genre in largest:
        assert groups[genre] == rows_where("item_id", lambda i, g=genre: g in genres.get(i, []))
    assert groups[others] == rows_where("item_id", lambda i: set(genres.get(i, [])) - {*largest})
    assert groups[missing] == rows_where("item_id", lambda i: not genres.get(i))
    assert sum(map(len, groups.values())) > len(rows())


def test_numbers_of_items_are_in_groups_of_about_equal_size(divided) -> None:
    known = read_item_attributes(WorkDirectory(scenario().work_dir).examples.item_attributes)
    years = dict(zip(known.item_ids, known.numeric["year"], strict=True))
    groups = divided("item.year")
    low, high, missing = groups
    assert abs(len(groups[low]) - len(groups[high])) <= 1
    for name in (low, high):
        actual = sorted(years[rows().item_id[row]] for row in groups[name])
        assert name == f"{actual[0]:.0f} to {actual[-1]:.0f}"
    assert groups[missing] == rows_where("item_id", lambda i: np.isnan(years.get(i, np.nan)))


def test_profiles_divide_by_value_and_by_number(divided) -> None:
    groups = divided("profile.city")
    *largest, others, missing = groups
    for city in largest:
        assert groups[city] == rows_where("profile_city", lambda cities, c=city: c in cities)
    assert groups[others] == rows_where("profile_city", lambda cities: set(cities) - {*largest})
    assert groups[missing] == rows_where("profile_city", lambda cities: not cities)
    ages = divided("profile.age")
    young, old, unknown = ages
    assert ages[unknown] == rows_where("profile_age", np.isnan)
    assert max(rows().profile_age[list(ages[young])]) < min(rows().profile_age[list(ages[old])])
    assert ages[young] | ages[old] | ages[unknown] == set(range(len(rows())))


@pytest.mark.parametrize(
    ("bounds", "names"),
    [
        ((1, 5, 20), ["0", "1-4", "5-19", "20+"]),
        ((1, 2), ["0", "1", "2+"]),
        ((10,), ["0-9", "10+"]),
    ],
)
def test_groups_of_counts_are_named_by_their_ends(
    bounds: tuple[int, ...], names: list[str]
) -> None:
    assert count_groups(bounds) == names


def test_groups_of_numbers_have_about_as_many_rows_each() -> None:
    values = np.arange(1900, 2000).astype(float)
    names, bounds = number_groups(values, np.ones(100, int), 4)
    assert names == ["1900 to 1924", "1925 to 1949", "1950 to 1974", "1975 to 1999"]
    assert bounds == [1925, 1950, 1975]


def test_rows_weigh_and_equal_numbers_are_never_parted() -> None:
    names, bounds = number_groups(np.array([1.5, 2.0, 3.0]), np.array([8, 1, 1]), 4)
    # 1.5 has the first eight places of ten, 2 the ninth and 3 the tenth, both in the last quarter.
    assert names == ["1.5", "2 to 3"] and bounds == [2.0]
    assert number_groups(np.array([]), np.array([], int), 4) == ([], [])
    assert number_groups(np.array([7.0]), np.array([3]), 4) == (["7"], [])
    names, _ = number_groups(np.array([0.1, 0.3], np.float32), np.array([1, 1]), 2)
    assert names == ["0.1", "0.3"]


def test_the_values_of_most_rows_have_groups_of_their_own() -> None:
    values_of_entities = [["x", "y"], ["z"], ["y"], [], ["w", "z"], ["y", "y"]]
    actual = value_groups(values_of_entities, np.array([5, 1, 2, 3, 1, 1]), largest=2)
    assert actual.names == ["y", "x", "(others)", "(missing)"]
    assert actual.groups_of_entity == [[0, 1], [2], [0], [3], [2], [0]]


def test_no_value_is_rare_where_all_are_shown() -> None:
    actual = value_groups([["b"], ["a"], []], np.array([1, 1, 1]), largest=2)
    assert actual.names == ["a", "b", "(missing)"]
    assert actual.groups_of_entity == [[1], [0], [2]]
