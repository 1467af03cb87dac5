from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import WorkDirectory
from tests.scenarios import copied_scenario, rich_scenario, tiny_scenario
from trainer.tfx.readiness import require_ready
from trainer.tfx.slice_features import activity_groups, check_slices, sliceable_features
from trainer.tfx.summary import Anomaly, PipelineResult, SliceMetrics, summary


@pytest.mark.skipif(importlib.util.find_spec("tfx") is not None, reason="TFX is installed here")
def test_where_tfx_is_missing_the_fix_is_named() -> None:
    with pytest.raises(CommandError, match="TFX is not installed for .*'make tfx'"):
        require_ready(tiny_scenario())


@pytest.mark.parametrize(("backbone", "kind"), [("prm", "rerank"), ("two_tower", "retrieval")])
def test_models_without_auc_over_candidates_are_refused(backbone: str, kind: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{backbone}' is trained on '{kind}' examples"):
        require_ready(tiny_scenario(model__backbone=backbone))


def test_a_training_in_several_processes_is_refused_before_anything_is_read() -> None:
    scenario = tiny_scenario(training__distribution="multi_worker", work_dir="nowhere")
    with pytest.raises(ConfigurationError, match="'multi_worker': TFX's Trainer runs one process"):
        require_ready(scenario)


def test_a_missing_work_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedRecords, match=f"{tmp_path}.*python -m preprocessing all"):
        require_ready(tiny_scenario(work_dir=str(tmp_path / "nowhere")))


def test_knowledge_that_is_not_there_is_named(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path)
    folder = WorkDirectory(scenario.work_dir).knowledge("user").path
    shutil.rmtree(folder)
    with pytest.raises(ConfigurationError, match="user.*python -m preprocessing"):
        require_ready(scenario)


def test_a_cut_off_shard_is_named(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path)
    shard = WorkDirectory(scenario.work_dir).examples.shards("validation")[0]
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(DamagedRecords, match=str(shard)):
        require_ready(scenario)


def test_groups_of_activity_follow_each_other() -> None:
    assert activity_groups() == ["0-19", "20-49", "50-99", "100-199", "200-499", "500+"]


def test_ids_whole_numbers_and_categories_are_groups() -> None:
    names = {"user_activity", "user_id", "item_id", "timestamp", "position", "user_fold"}
    assert {*sliceable_features(tiny_scenario().data)} == names
    assert {*sliceable_features(rich_scenario().data)} == names | {"profile_city"}


def test_features_that_are_asked_for_twice_count_once() -> None:
    asked = ["user_fold", "user_activity", "user_fold"]
    assert check_slices(asked, tiny_scenario().data) == ("user_fold", "user_activity")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("user_activiti", "Did you mean 'user_activity'?"),
        ("history_item_id", "Did you mean"),
        ("profile_city", "Possible: user_activity, user_id, item_id"),
        ("profile_age", "Possible: user_activity"),
    ],
)
def test_other_features_are_refused(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_slices([name], tiny_scenario().data)
    assert f"--slice '{name}'" in str(caught.value) and hint in str(caught.value)


def metrics(auc: float | None, n: int) -> SliceMetrics:
    return SliceMetrics(
        auc=auc, logloss=0.51234, calibration=1.25, mean_label=0.4, mean_score=0.5, n=n
    )


def result() -> PipelineResult:
    return PipelineResult(
        blessed=True,
        failures=[],
        test=metrics(0.81239, 8304),
        baseline=None,
        slices={"user_activity": {"0-19": metrics(None, 28), "20-49": metrics(0.75, 350)}},
        anomalies=[],
        pushed="out/tfx/pushed/films/17",
        version=17,
        run="run",
        evaluation="evaluation",
    )


def test_a_first_model_is_pushed() -> None:
    assert list(summary(result())) == [
        "examples: no anomalies",
        "test: AUC 0.8124, LogLoss 0.5123, calibration 1.2500 (8,304 samples)",
        "  user_activity 0-19: AUC -, LogLoss 0.5123, calibration 1.2500 (28 samples)",
        "  user_activity 20-49: AUC 0.7500, LogLoss 0.5123, calibration 1.2500 (350 samples)",
        "no blessed model to compare with",
        "blessed, and pushed to out/tfx/pushed/films/17",
    ]


def test_a_worse_model_is_not_pushed_and_the_reasons_are_named() -> None:
    refused = result() | {
        "blessed": False,
        "failures": ["auc is too low", "calibration is off"],
        "baseline": metrics(0.83, 8304),
        "pushed": None,
        "version": None,
    }
    assert list(summary(PipelineResult(**refused)))[-2:] == [
        "last blessed model: AUC 0.8300, LogLoss 0.5123, calibration 1.2500 (8,304 samples)",
        "not blessed, and not pushed: auc is too low; calibration is off",
    ]


def test_anomalies_say_who_found_them_and_where() -> None:
    anomaly = Anomaly(
        found_by="ExampleValidator",
        split="test",
        feature="profile_city",
        description="Unexpected value: Rome.",
    )
    lines = list(summary(PipelineResult(**(result() | {"anomalies": [anomaly]}))))
    assert lines[0] == "ExampleValidator: test: profile_city: Unexpected value: Rome."
    assert not any("no anomalies" in line for line in lines)
