from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.scenario import Scenario
from preprocessing.records.layout import WorkDirectory
from tests.scenarios import copied_scenario, tiny_scenario
from trainer.run_identity import differences, training_identity

IDENTITY = {
    "settings": {"training": {"seed": 1, "class_weights": [1, 1]}, "model": {"tasks": {}}},
    "fingerprint": {"examples": "abc"},
    "code_version": "0a1b",
    "limits": [None, None],
}


def changed(**changes: object) -> str:
    return json.dumps({**IDENTITY, **changes})


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, []),
        (
            {"settings": {"training": {"seed": 2, "class_weights": [1, 1]}, "model": {}}},
            ["training.seed"],
        ),
        (
            {"settings": {"training": {"class_weights": [2, 1]}, "model": {"tasks": {"a": 1}}}},
            ["model.tasks.a", "training.class_weights", "training.seed"],
        ),
        ({"fingerprint": {"examples": "abd"}}, ["fingerprint.examples"]),
        ({"code_version": "0", "limits": [5, None]}, ["code_version", "limits"]),
        ({"fingerprint": {}}, ["fingerprint.examples"]),
    ],
)
def test_what_differs_is_named_as_in_a_configuration(
    changes: dict[str, object], names: list[str]
) -> None:
    assert differences(changed(), changed(**changes)) == names
    assert differences(changed(**changes), changed()) == names


@pytest.mark.parametrize("text", ["", '{"settings": '])
def test_a_damaged_text_differs_in_nothing_that_has_a_name(text: str) -> None:
    assert differences(text, changed()) == []


def identity(scenario: Scenario, *arguments: object) -> str:
    return json.dumps(training_identity(scenario, *(arguments or ({}, None, None))))


def test_what_is_only_written_or_read_later_makes_no_other_training() -> None:
    changes = {"run_dir": "elsewhere", "training__checkpoint_steps": 3, "serving__model_name": "a"}
    assert identity(tiny_scenario(**changes)) == identity(tiny_scenario())


def test_settings_data_limits_and_files_make_another_training(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path)
    before = identity(scenario)
    other = copied_scenario(tmp_path / "other", training__seed=2)
    assert differences(before, identity(other)) == ["training.seed", "work_dir"]
    limited = identity(scenario, {}, 5, None)
    assert differences(before, limited) == ["limits"]
    assert differences(limited, identity(scenario, {}, 6, None)) == ["limits"]
    assert differences(before, identity(scenario, {}, None, 9)) == ["limits"]
    file = tmp_path / "file"
    file.write_text("ab")
    files = {"train": [str(file)]}
    named = identity(scenario, files, None, None)
    assert differences(before, named) == ["files.train"]
    file.write_text("abc")
    assert differences(named, identity(scenario, files, None, None)) == ["files.train"]
    manifest = WorkDirectory(scenario.work_dir).knowledge("item").manifest
    manifest.write_text(manifest.read_text() + " ")
    assert differences(before, identity(scenario)) == ["fingerprint.knowledge/item"]
