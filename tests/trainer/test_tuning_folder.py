from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.command_line import CommandError
from configs.experiment import SearchRange
from tests.scenarios import tiny_scenario
from tests.trainer.searches import SPACE
from trainer.tuning import claim_folder, study_identity

IDENTITY = {"seed": 1, "space": {"a": [1, 2]}}


def test_a_folder_that_is_claimed_may_be_claimed_again(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "study"
    claim_folder(folder, IDENTITY, restart=False)
    (folder / "trial0001").mkdir()
    claim_folder(folder, IDENTITY, restart=True)
    assert (folder / "trial0001").exists()


def test_a_study_of_something_else_is_not_mixed_in(tmp_path: Path) -> None:
    claim_folder(tmp_path, IDENTITY, restart=False)
    (tmp_path / "trial0001").mkdir()
    (tmp_path / "study.db").touch()
    other = {**IDENTITY, "seed": 2}
    with pytest.raises(CommandError, match=r"changed: seed\), whose trials cannot be compared"):
        claim_folder(tmp_path, other, restart=False)
    assert (tmp_path / "trial0001").exists()
    claim_folder(tmp_path, other, restart=True)
    assert [path.name for path in tmp_path.iterdir()] == ["study.json"]
    assert json.loads((tmp_path / "study.json").read_text()) == other


def test_other_peoples_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / "trial0_notes.txt").write_text("mine")
    with pytest.raises(CommandError, match="holds other files than a study's"):
        claim_folder(tmp_path, IDENTITY, restart=True)
    assert (tmp_path / "trial0_notes.txt").read_text() == "mine"


def test_settings_space_seed_data_and_code_make_a_study() -> None:
    identity = study_identity(tiny_scenario(), SPACE, 1)
    assert set(identity) == {"settings", "space", "seed", "data", "code_version"}
    space = {"model.dropout_rate": SearchRange(low=0, high=0.5)}
    assert study_identity(tiny_scenario(), space, 1) != identity
    assert study_identity(tiny_scenario(training__epochs=7), SPACE, 1) != identity
    assert study_identity(tiny_scenario(experiment__seeds=[7]), SPACE, 1) == identity
