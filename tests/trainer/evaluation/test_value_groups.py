from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.slices import count_groups, number_groups, value_groups


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


def test_the_values_of_most_rows_have_groups_of_their_own() -> None:
    values_of_entities = [["x", "y"], ["z"], ["y"], [], ["w", "z"], ["y", "y"]]
    actual = value_groups(values_of_entities, np.array([5, 1, 2, 3, 1, 1]), largest=2)
    assert actual.names == ["y", "x", "(others)", "(missing)"]
    assert actual.groups_of_entity == [[0, 1], [2], [0], [3], [2], [0]]


def test_no_value_is_rare_where_all_are_shown() -> None:
    actual = value_groups([["b"], ["a"], []], np.array([1, 1, 1]), largest=2)
    assert actual.names == ["a", "b", "(missing)"]
    assert actual.groups_of_entity == [[1], [0], [2]]
