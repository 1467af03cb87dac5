from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs import __version__
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import WorkDirectory
from tests.scenarios import tiny_scenario
from tests.trainer.report.synthetic import helpful_report, tuned_report
from trainer.experiments.results import ExperimentResult
from trainer.report.inputs import leak_report, machine_text, versions_text


def test_the_order_is_that_of_the_experiment_with_the_baseline_first() -> None:
    report = helpful_report()
    experiment = report.experiment
    shuffled = replace(
        report, experiment=ExperimentResult(experiment.runs[6:] + experiment.runs[:6], [])
    )
    assert report.backbones == ["din", "dcnv2"]
    assert report.arms == ["none", "hein", "hein_match"]
    assert shuffled.arms == ["none", "hein", "hein_match"]


def test_comparisons_are_ordered_by_backbone_then_arm() -> None:
    report = helpful_report()
    experiment = report.experiment
    backwards = replace(
        report, experiment=ExperimentResult(experiment.runs, experiment.comparisons[::-1])
    )
    assert [(each.backbone, each.knowledge) for each in backwards.comparisons] == [
        ("din", "hein"),
        ("din", "hein_match"),
        ("dcnv2", "hein"),
        ("dcnv2", "hein_match"),
    ]


def test_searches_are_ordered_by_backbone_then_arm() -> None:
    assert [(tuned.backbone, tuned.knowledge) for tuned in tuned_report().tuning] == [
        (backbone, arm) for backbone in ("din", "dcnv2") for arm in ("none", "hein", "hein_match")
    ]


def test_the_leak_check_is_read_from_the_manifest() -> None:
    leak = leak_report(Path(tiny_scenario().work_dir))
    assert leak["leak_violations"] == 0
    assert leak["leak_check"]["unverified_sources"] == ["item"]
    assert leak["leak_check"]["users_verified_by_prompt"] == 36


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    path = WorkDirectory(tmp_path).examples.manifest
    path.parent.mkdir(parents=True)
    path.write_text('{"counts": 3}')
    with pytest.raises(DamagedRecords, match="manifest.json: no manifest of examples"):
        leak_report(tmp_path)


def test_the_machine_is_described() -> None:
    assert " cores, " in machine_text() and machine_text().startswith("Linux")


def test_versions_name_the_project_its_commit_and_what_computes(
    repository_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = versions_text()
    assert text.startswith(f"REKI {__version__}")
    assert f"tensorflow {tf.__version__}" in text and f"numpy {np.__version__}" in text
    if (repository_root / ".git").exists():
        assert re.search(r" \(commit [0-9a-f]{7,40}(, with changes)?\), Python 3", text)
    monkeypatch.setenv("PATH", "")
    assert versions_text().startswith(f"REKI {__version__}, Python 3")
