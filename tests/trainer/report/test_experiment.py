from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from configs.loading import override_scenario
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import WorkDirectory
from tests.runs import rich_run
from tests.scenarios import rich_scenario, tiny_scenario
from tests.trainer.made_up_results import result_of
from trainer.evaluation.runs import predict_run
from trainer.experiments.results import ExperimentResult, RunResult
from trainer.experiments.running import comparisons_of
from trainer.report.writing import leak_report, machine_text, write_experiment_report


def run_of(backbone: str, arm: str, metric: str) -> RunResult:
    folder = rich_run(backbone).folder.path
    predictions = predict_run(folder, "test")
    metrics = predictions.metrics()
    return dataclasses.replace(
        result_of(backbone, arm),
        folder=folder,
        predictions=predictions,
        validation=metrics,
        test=metrics,
        selection_metric=metric,
        history=[{"epoch": 1.0, "train_loss": 0.5, f"validation_{metric}": 0.3}],
    )


@pytest.mark.parametrize(
    ("backbone", "metric", "title"),
    [
        ("prm", "ndcg_at_10", "Knowledge in re-rankers: "),
        ("two_tower", "new_items_recall_at_10", "Knowledge in retrieval models: "),
    ],
)
def test_an_experiment_of_any_kind_has_a_report(
    tmp_path: Path, backbone: str, metric: str, title: str
) -> None:
    experiment = {"backbones": [backbone], "arms": {}, "adapters": ["none", "hein"], "seeds": [1]}
    scenario = override_scenario(rich_scenario(), {"experiment": experiment})
    runs = [run_of(backbone, arm, metric) for arm in ("none", "hein")]
    result = ExperimentResult(runs, comparisons_of(scenario, runs))
    written = write_experiment_report(tmp_path, scenario, result, "make it so")
    assert (written["metric"], written["command"]) == (metric, "make it so")
    (row,) = written["comparisons"]
    assert row["metric"] == metric and "auc_none" not in row
    assert row["difference"] == 0 and row["p_value_holm"] == 1 and not row["significant"]
    assert written["runs"][0]["test"][metric] == runs[0].test[metric]
    assert written["models"][0][metric] == runs[0].test[metric]
    assert written["popularity_slices"] == [] and written["steps"] == []
    assert f"{backbone}/hein" in written["gates"]
    page = (tmp_path / "report.html").read_text()
    assert title in page and "This section is about ranking models." in page
    assert json.loads((tmp_path / "results.json").read_text()) == written
    assert "makes no difference" in (tmp_path / "results.md").read_text()


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
