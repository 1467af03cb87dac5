from __future__ import annotations

import argparse

import pytest

from configs.loading import ConfigurationError, known_keys, scenario_from_tree
from configs.scenario import Scenario
from trainer.commands.evaluation_options import (
    SLICE_KEYS,
    add_part_option,
    add_slices_option,
    with_evaluation,
)


def scenario() -> Scenario:
    return scenario_from_tree(
        {
            "name": "films",
            "work_dir": "out/films",
            "data": {"interactions": {"path": "a.csv"}, "catalogue": {"path": "b.csv"}},
            "knowledge": {
                "answers": {"item": {"entity": "item", "individual": ["none.jsonl"]}},
                "sources": ["item"],
            },
        }
    )


def test_how_a_run_is_judged_can_be_changed() -> None:
    changed = with_evaluation(
        scenario(), ["evaluation.user_activity_bounds=[3, 9]", "evaluation.sparse_below=7"]
    )
    assert changed.evaluation.user_activity_bounds == (3, 9)
    assert changed.evaluation.sparse_below == 7
    assert changed.model == scenario().model
    assert with_evaluation(scenario(), []) == scenario()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.backbone=dcnv2", "'model.backbone': a run keeps the configuration"),
        ("evaluation.sparse=7", "Did you mean 'evaluation.sparse_below'"),
        ("evaluation.user_activity_bounds=[9, 3]", "ascending whole numbers from 1"),
        ("evaluation.item_popularity_bounds=[0, 3]", "ascending whole numbers from 1"),
        ("evaluation.memory_megabytes=1", "greater than or equal to 256"),
        ("cold", "write it as dotted.key=value"),
    ],
)
def test_nothing_else_can_be(override: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        with_evaluation(scenario(), [override])


def test_the_keys_of_slices_are_keys_of_the_scenario() -> None:
    assert set(SLICE_KEYS) <= set(known_keys())


def test_the_options_have_their_defaults() -> None:
    parser = argparse.ArgumentParser()
    add_part_option(parser)
    add_slices_option(parser)
    assert vars(parser.parse_args([])) == {"part": "test", "slices": None}
