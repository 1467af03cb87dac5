from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from configs.contract_versions import CONTRACTS
from configs.loading import ConfigurationError, override_scenario
from tests.runs import write_run, written_run
from tests.scenarios import copied_scenario
from trainer.run_folder import RunFolder
from trainer.run_identity import is_up_to_date, require_no_other_run


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
        ("knowledge.answers.noise", {"entity": "item", "random": {}}, True),
        ("knowledge.shards", 7, False),
        ("prompts.title_characters", 99, True),
        ("model.moe.num_experts", 3, True),
    ],
)
def test_a_run_is_up_to_date_with_the_settings_it_was_trained_with(
    key: str, value: object, expected: bool
) -> None:
    run = written_run()
    assert is_up_to_date(run.folder, run.scenario)
    assert is_up_to_date(run.folder, override_scenario(run.scenario, {key: value})) is expected


def test_a_run_without_knowledge_stays_what_it_is_whatever_becomes_known(tmp_path: Path) -> None:
    run = write_run(copied_scenario(tmp_path, run_dir=str(tmp_path / "run"), model__adapter="none"))
    noise: dict[str, object] = {"knowledge.answers.noise": {"entity": "item", "random": {}}}
    for changes in (noise, {**noise, "knowledge.sources": ["noise"]}, {"knowledge.shards": 7}):
        changed = override_scenario(run.scenario, changes)
        assert is_up_to_date(run.folder, changed)
        require_no_other_run(run.folder, changed)
    read = override_scenario(
        run.scenario,
        {**noise, "model.match": "means", "model.knowledge_match.sources": ["noise"]},
    )
    with pytest.raises(ConfigurationError, match=r"other settings \(.*knowledge\.answers\.noise"):
        require_no_other_run(run.folder, read)


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
