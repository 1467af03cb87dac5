from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.effects import training_settings
from configs.loading import load_scenario, save_scenario
from configs.training import Training
from tests.scenarios import tiny_scenario


def test_all_of_training_counts_but_what_only_says_what_is_written() -> None:
    settings = training_settings(tiny_scenario())
    left_out = {"tensorboard", "checkpoint_steps"}
    assert set(settings["training"]) == set(Training.model_fields) - left_out
    assert {"work_dir", "data", "split", "knowledge", "model"} <= set(settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "another"},
        {"run_dir": "elsewhere"},
        {"evaluation__bootstrap_seed": 7},
        {"experiment__seeds": [8, 9]},
        {"serving__model_name": "songs"},
        {"training__tensorboard": True, "training__checkpoint_steps": 3},
    ],
)
def test_what_does_not_change_the_model_does_not_count(changes: dict[str, object]) -> None:
    assert training_settings(tiny_scenario(**changes)) == training_settings(tiny_scenario())


@pytest.mark.parametrize(
    "changes",
    [
        {"work_dir": "elsewhere"},
        {"training__seed": 2},
        {"training__epochs": 3},
        {"training__input": "stream"},
        {"training__shuffle_buffer": 50},
        {"model__hein__num_shared_experts": 1},
        {"knowledge__sources": ["item"]},
        {"split__knowledge_history_cap": 9},
    ],
)
def test_whatever_else_is_set_counts(changes: dict[str, object]) -> None:
    assert training_settings(tiny_scenario(**changes)) != training_settings(tiny_scenario())


def test_settings_of_a_saved_scenario_are_equal_also_as_json(tmp_path: Path) -> None:
    scenario = tiny_scenario(model__tasks={}, training__class_weights=[1, 2.5])
    save_scenario(scenario, tmp_path / "config.yaml")
    settings = training_settings(load_scenario(tmp_path / "config.yaml"))
    assert settings == training_settings(scenario)
    assert json.loads(json.dumps(settings)) == settings
