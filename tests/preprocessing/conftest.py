from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from configs.loading import scenario_from_tree
from configs.scenario import Scenario
from tests.preprocessing.small_data import (
    ANSWERS,
    CATALOGUE,
    GROUP_ANSWERS,
    GROUPS,
    INTERACTIONS,
    write_lines,
)


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    """Input files of a small scenario; a test may overwrite them."""
    (tmp_path / "interactions.csv").write_text(INTERACTIONS, encoding="utf-8")
    (tmp_path / "catalogue.csv").write_text(CATALOGUE, encoding="utf-8")
    (tmp_path / "groups.csv").write_text(GROUPS, encoding="utf-8")
    write_lines(tmp_path / "answers.jsonl", ANSWERS)
    write_lines(tmp_path / "group_answers.jsonl", GROUP_ANSWERS)
    return tmp_path


@pytest.fixture
def small_tree(small_folder: Path) -> dict[str, object]:
    """The scenario as a YAML file would hold it."""
    return {
        "name": "small",
        "work_dir": str(small_folder / "work"),
        "data": {
            "interactions": {"path": str(small_folder / "interactions.csv")},
            "catalogue": {
                "path": str(small_folder / "catalogue.csv"),
                "attributes": {
                    "genres": {"kind": "categorical", "separator": "|"},
                    "year": {"kind": "numeric"},
                },
            },
            "history_length": 3,
        },
        "split": {"knowledge_history_cap": 2},
        "knowledge": {
            "sources": ["item"],
            "answers": {
                "item": {
                    "entity": "item",
                    "individual": [str(small_folder / "answers.jsonl")],
                    "collective": [str(small_folder / "group_answers.jsonl")],
                    "groups": str(small_folder / "groups.csv"),
                }
            },
            "encoder": {"kind": "tfidf", "dimension": 3},
        },
    }


@pytest.fixture
def small_scenario(small_tree: dict[str, object]) -> Callable[..., Scenario]:
    """Makes the small scenario, with dotted keys set to other values."""

    def make(**assignments: object) -> Scenario:
        dotted = {key.replace("__", "."): value for key, value in assignments.items()}
        return scenario_from_tree(small_tree, dotted)

    return make
