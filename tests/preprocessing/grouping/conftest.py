from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.scenario import Scenario


@pytest.fixture
def grouping(small_scenario) -> Callable[..., Scenario]:
    """Makes the small scenario with groups of items and of users, all made here."""
    collective = ["later.jsonl"]

    def make(**assignments: object) -> Scenario:
        defaults = {
            "knowledge__answers__item": {
                "entity": "item", "collective": collective, "grouping": {"maximum_size": 3},
            },
            "knowledge__answers__user_liked": {
                "entity": "user", "collective": collective, "grouping": {"maximum_size": 2},
            },
            "prompts__minimum_group_users": 1,
            "prompts__scenario": "movies",
        }  # fmt: skip
        return small_scenario(**(defaults | assignments))

    return make


@pytest.fixture
def read_groups() -> Callable[[Path], dict[str, str]]:
    """Reads a groups file: entity id -> group id."""

    def read(path: Path) -> dict[str, str]:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert len({row[0] for row in rows}) == len(rows)
        return {entity: group for entity, group in rows[1:]}

    return read
