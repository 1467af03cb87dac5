from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from configs.contract_versions import CONTRACTS
from configs.loading import override_scenario
from tests.runs import write_run, written_run
from tests.scenarios import copied_scenario
from trainer.run_folder import RunFolder
from trainer.run_identity import is_up_to_date


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("training.epochs", 9, False),
        ("model.top_units", [3], False),
        ("knowledge.sources", ["user"], False),
        ("split.seed", 5, False),
        ("experiment.seeds", [1, 2, 3], True),
        ("evaluation.bootstrap_resamples", 77, True),
        ("name", "renamed", True),
        ("run_dir", "elsewhere", True),
    ],
)
def test_a_run_is_up_to_date_with_the_settings_it_was_trained_with(
    key: str, value: object, expected: bool
) -> None:
    run = written_run()
    assert is_up_to_date(run.folder, run.scenario)
    assert is_up_to_date(run.folder, override_scenario(run.scenario, {key: value})) is expected


def test_a_missing_run_is_not_up_to_date() -> None:
    run = written_run()
    assert not is_up_to_date(RunFolder(run.folder.path / "absent"), run.scenario)


def test_a_run_of_other_data_is_not_up_to_date(tmp_path: Path) -> None:
    run = write_run(copied_scenario(tmp_path, run_dir=str(tmp_path / "run"), model__adapter="none"))
    assert is_up_to_date(run.folder, run.scenario)
    manifest = Path(run.scenario.work_dir) / "examples" / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    assert not is_up_to_date(run.folder, run.scenario)


def test_a_run_of_other_code_is_not_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = written_run()
    copy = RunFolder(tmp_path / "copy")
    shutil.copytree(run.folder.path, copy.path)
    assert is_up_to_date(copy, run.scenario)
    monkeypatch.setitem(CONTRACTS, "training", CONTRACTS["training"] + 1)
    assert not is_up_to_date(copy, run.scenario)
