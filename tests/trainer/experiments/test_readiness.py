from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from tests.scenarios import copied_scenario, tiny_scenario
from trainer.experiments.grid import experiment_cells
from trainer.experiments.readiness import require_ready
from trainer.preparation import ExampleStore


def test_cells_over_data_that_is_there_are_ready() -> None:
    scenario = tiny_scenario(experiment__backbones=["din"])
    require_ready(experiment_cells(scenario), ExampleStore())


def test_knowledge_that_was_not_encoded_is_named_with_the_command(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path)
    shutil.rmtree(Path(scenario.work_dir) / "knowledge" / "user")
    cells = experiment_cells(scenario)
    with pytest.raises(
        CommandError, match=r"no knowledge vectors of 'user' \(arms hein_match\)"
    ) as e:
        require_ready(cells, ExampleStore())
    assert "python -m preprocessing encode --config FILE.yaml --source user" in str(e.value)


def test_data_built_with_other_settings_is_noticed() -> None:
    cells = experiment_cells(tiny_scenario(data__positive_rating=3.0))
    with pytest.raises(ConfigurationError, match="data.positive_rating"):
        require_ready(cells, ExampleStore())


def test_a_model_that_cannot_be_built_is_named_with_its_cell() -> None:
    scenario = tiny_scenario(
        experiment__backbones=["bst"], model__backbone_options={"num_heads": 3}
    )
    cells = experiment_cells(scenario)
    with pytest.raises(ConfigurationError, match="arm 'none' of 'bst': the model cannot be built"):
        require_ready(cells, ExampleStore())


def test_an_empty_work_directory_needs_all_of_preprocessing(tmp_path: Path) -> None:
    cells = experiment_cells(tiny_scenario(work_dir=str(tmp_path / "empty")))
    with pytest.raises(CommandError, match="run 'python -m preprocessing all' first"):
        require_ready(cells, ExampleStore())
