from __future__ import annotations

from pathlib import Path

import pytest

from configs.loading import override_scenario
from tests.trainer.experiments.test_arms import scenario_with
from trainer.experiments.folders import experiment_folder


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("movielens_small_grid", "movielens_small_grid"),
        ("<b>films & more</b>", "b-films-more-b-"),
        ("../../etc", "etc"),
        ("..", "experiment"),
    ],
)
def test_the_folder_is_named_after_the_scenario(name: str, folder: str) -> None:
    scenario = override_scenario(scenario_with({}), {"name": name})
    assert experiment_folder(scenario) == Path("out/arms/experiments") / folder
