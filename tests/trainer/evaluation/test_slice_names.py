from __future__ import annotations

from pathlib import Path

import pytest

from configs.loading import ConfigurationError, scenario_from_tree
from configs.scenario import Scenario
from trainer.evaluation.slices import SLICES_HELP, chosen_slices, features_read, slice_names

ALWAYS = ["user_activity", "item_popularity", "cold_user", "cold_item"]


def scenario(folder: Path) -> Scenario:
    """Two sources, of which the work directory has one."""
    (folder / "knowledge" / "item").mkdir(parents=True)
    (folder / "knowledge" / "item" / "manifest.json").write_text("{}")
    return scenario_from_tree(
        {
            "name": "films",
            "work_dir": str(folder),
            "data": {
                "interactions": {"path": "none.csv"},
                "catalogue": {
                    "path": "none.csv",
                    "attributes": {"genres": {"kind": "categorical"}},
                },
                "profiles": {"path": "none.csv", "attributes": {"age": {"kind": "numeric"}}},
            },
            "knowledge": {
                "sources": ["item"],
                "answers": {
                    "item": {"entity": "item", "individual": ["none.jsonl"]},
                    "user": {"entity": "user", "individual": ["none.jsonl"]},
                },
            },
        }
    )


def test_all_are_those_of_the_data_and_of_the_knowledge_that_is_there(tmp_path: Path) -> None:
    names = [*ALWAYS, "knowledge.item", "item.genres", "profile.age"]
    assert slice_names(scenario(tmp_path)) == names
    assert chosen_slices("all", scenario(tmp_path / "other")) == names


def test_names_are_taken_in_the_order_given_once_each(tmp_path: Path) -> None:
    actual = chosen_slices("profile.age, cold_item,profile.age,", scenario(tmp_path))
    assert actual == ["profile.age", "cold_item"]


def test_a_source_that_was_not_encoded_can_be_asked_for_by_name(tmp_path: Path) -> None:
    assert chosen_slices("knowledge.user", scenario(tmp_path)) == ["knowledge.user"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item.genre", r"no slice 'item.genre'.*item.genres.*Did you mean 'item.genres'"),
        ("cold_items", r"Did you mean 'cold_item'"),
        ("profile.city", r"no slice 'profile.city'"),
        (" , ", "names no slice"),
    ],
)
def test_what_there_is_not_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        chosen_slices(text, scenario(tmp_path))


@pytest.mark.parametrize(
    ("names", "features"),
    [
        ([], []),
        (["item_popularity", "knowledge.item", "item.genres"], []),
        (["cold_user"], ["position"]),
        (["user_activity", "profile.age", "cold_user"], ["position", "profile_age"]),
    ],
)
def test_only_slices_by_user_read_features(names: list[str], features: list[str]) -> None:
    assert features_read(names) == features


def test_the_help_names_every_slice() -> None:
    for name in [*ALWAYS, "knowledge.<source>", "item.<attribute>", "profile.<attribute>"]:
        assert f"  {name} " in SLICES_HELP
