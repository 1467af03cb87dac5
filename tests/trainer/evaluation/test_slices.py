from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.slices import KeySlice, NumberSlice, Slice, WholePart


def pairs(division: Slice, **columns: list[float]) -> list[tuple[int, str]]:
    members = division.members({name: np.array(values) for name, values in columns.items()})
    return [
        (row, division.groups[group])
        for row, group in zip(members.rows.tolist(), members.groups.tolist(), strict=True)
    ]


def test_numbers_belong_to_the_group_above_a_bound() -> None:
    division = NumberSlice("activity", ["0", "1-4", "5+"], "position", [1, 5])
    assert pairs(division, position=[0, 1, 4, 5, 99]) == [
        *((0, "0"), (1, "1-4"), (2, "1-4"), (3, "5+"), (4, "5+"))
    ]


def test_a_number_that_is_not_known_has_a_group_of_its_own() -> None:
    division = NumberSlice("age", ["young", "old", "(missing)"], "age", [30])
    assert pairs(division, age=[20.0, np.nan, 40.0]) == [
        *((0, "young"), (1, "(missing)"), (2, "old"))
    ]


def test_an_entity_may_be_in_any_number_of_groups() -> None:
    division = KeySlice("genre", ["a", "b", "c"], "item", [[0, 2], [], [1], [2]])
    assert pairs(division, item=[2, 0, 1, 3, 0]) == [
        *((0, "b"), (1, "a"), (1, "c"), (3, "c"), (4, "a"), (4, "c"))
    ]
    assert pairs(division, item=[1]) == []


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_whole_part_has_all_rows(count: int) -> None:
    members = WholePart().members({"label": np.ones(count)})
    assert members.rows.tolist() == list(range(count)) and members.groups.tolist() == [0] * count
