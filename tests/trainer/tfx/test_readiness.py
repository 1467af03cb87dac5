from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import WorkDirectory
from tests.scenarios import copied_scenario, tiny_scenario
from trainer.tfx.readiness import require_ready


@pytest.mark.skipif(importlib.util.find_spec("tfx") is not None, reason="TFX is installed here")
def test_where_tfx_is_missing_the_fix_is_named() -> None:
    with pytest.raises(CommandError, match="TFX is not installed for .*'make tfx'"):
        require_ready(tiny_scenario())


@pytest.mark.parametrize(("backbone", "kind"), [("prm", "rerank"), ("two_tower", "retrieval")])
def test_models_without_auc_over_candidates_are_refused(backbone: str, kind: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{backbone}' is trained on '{kind}' examples"):
        require_ready(tiny_scenario(model__backbone=backbone))


def test_a_missing_work_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedRecords, match=f"{tmp_path}.*python -m preprocessing all"):
        require_ready(tiny_scenario(work_dir=str(tmp_path / "nowhere")))


def test_knowledge_that_is_not_there_is_named(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path)
    folder = WorkDirectory(scenario.work_dir).knowledge("user").path
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match=str(folder)):
        require_ready(scenario)


def test_a_cut_off_shard_is_named(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path)
    shard = WorkDirectory(scenario.work_dir).examples.shards("validation")[0]
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(DamagedRecords, match=str(shard)):
        require_ready(scenario)
