from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from configs.scenario import Scenario
from preprocessing.prompting.reading import Scratch

USER_GROUPS = "user_id,group_id\nann,a\nbob,a\neve,b\n"


@pytest.fixture
def asking(small_scenario, small_folder) -> Callable[..., Scenario]:
    """Makes the small scenario with every kind of prompt, with dotted keys set to other values."""
    (small_folder / "user_groups.csv").write_text(USER_GROUPS, encoding="utf-8")
    by_users = {
        "entity": "user",
        "collective": ["later.jsonl"],
        "groups": str(small_folder / "user_groups.csv"),
    }

    def make(**assignments: object) -> Scenario:
        defaults = {
            "prompts__scenario": "movies",
            "prompts__minimum_group_users": 1,
            "knowledge__answers__user": {"entity": "user", "individual": ["later.jsonl"]},
            "knowledge__answers__user_liked": by_users,
            "knowledge__answers__user_disliked": by_users,
        }
        return small_scenario(**(defaults | assignments))

    return make


@pytest.fixture
def read_prompts() -> Callable[[Path], dict[tuple[str, str, str], str]]:
    """Reads a file of prompts: (source, extraction, entity id) -> prompt."""

    def read(path: Path) -> dict[tuple[str, str, str], str]:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {
            (record["source"], record["extraction"], record["entity_id"]): record["prompt"]
            for record in records
        }

    return read


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    """An empty scratch table."""
    with Scratch(tmp_path / "scratch.sqlite") as opened:
        yield opened
