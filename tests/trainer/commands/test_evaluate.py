from __future__ import annotations

import argparse
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from configs.command_line import add_field_options
from configs.loading import ConfigurationError, described_keys, scenario_from_tree
from configs.scenario import Scenario
from tests.runs import rich_run, written_run
from tests.serving.exports import exported
from trainer.commands.evaluation import (
    COMPARE_KEYS,
    EVALUATE_KEYS,
    EvaluationOptions,
    with_evaluation,
)
from trainer.evaluation import runs


def test_a_run_is_judged_by_slice_with_a_report(run, json_result, tmp_path: Path) -> None:
    folder = str(rich_run("din").folder.path)
    report, scores = tmp_path / "report", tmp_path / "scores.parquet"
    words = ["--slices", "user_activity,item.genres", "--report", str(report)]
    words += ["--predictions", str(scores), "evaluation.user_activity_bounds=[30,40]"]
    result = json_result("evaluate", folder, *words)
    assert list(result) == ["test", "slices", "reliability", "leak_rule"]
    assert list(result["slices"]) == ["user_activity", "item.genres"]
    groups = result["slices"]["user_activity"]
    assert list(groups) == ["0-29", "30-39", "40+"]
    assert sum(group["n"] for group in groups.values()) == result["test"]["n"]
    assert sum(one["n"] for one in result["reliability"]) == result["test"]["n"]
    assert set(result["reliability"][0]) == {
        *("lowest", "highest", "mean_score", "share_positive", "n")
    }
    assert {file.name for file in report.iterdir()} == {
        *("metrics.json", "slices.csv", "slices.md", "reliability.png", "slices.png")
    }
    assert json.loads((report / "metrics.json").read_text()) == result
    assert pq.read_schema(scores).names == ["user_id", "item_id", "label", "score", "position"]
    code, output, errors = run("evaluate", folder, *words)
    assert (code, output) == (0, "")
    for text in ("test: AUC 0.", "samples", "40+", "normalised"):
        assert text in errors
    assert result["leak_rule"] == {"item": "unverified", "user": "verified"}
    assert f"{folder}: unverified sources: item: nothing shows" in errors


def test_a_report_does_not_replace_a_run(run) -> None:
    folder = rich_run("din").folder
    before = folder.metrics.read_bytes()
    code, output, errors = run("evaluate", str(folder.path), "--report", str(folder.path))
    assert (code, output) == (2, "")
    assert "is the folder of a run" in errors and "/report" in errors
    assert folder.metrics.read_bytes() == before


@pytest.mark.parametrize(
    ("option", "name", "reason"),
    [
        ("--predictions", "folder", "this is a folder; name a file"),
        ("--predictions", "file/scores.parquet", "file is a file; name a folder"),
        ("--report", "file", "this is a file; name a folder"),
        ("--report", "file/report", "file is a file; name a folder"),
    ],
)
def test_where_nothing_can_be_written_is_known_before_the_part_is_scored(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, name: str, reason: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr(runs, "run_scores", None)
    folder = str(written_run(arm="none").folder.path)
    code, output, errors = run("evaluate", folder, option, str(tmp_path / name))
    assert (code, output) == (2, "")
    assert f"{option} {tmp_path / name}: " in errors and reason in errors


def test_all_slices_of_a_retrieval_model(json_result) -> None:
    result = json_result("evaluate", str(rich_run("two_tower").folder.path), "--slices", "all")
    assert list(result) == ["test", "slices", "factorized_top_k", "leak_rule"]
    for k, share in result["factorized_top_k"].items():
        assert share == pytest.approx(result["test"][f"recall_at_{k}"], abs=1e-6)
    assert {"cold_item", "knowledge.likes", "profile.age"} <= set(result["slices"])
    warm = result["slices"]["cold_user"]["warm"]
    assert {name: warm[name] for name in result["test"]} == result["test"]


def test_an_export_is_judged_like_its_run(json_result) -> None:
    export = exported()
    words = ["--part", "validation", "--slices", "item_popularity"]
    run_result = json_result("evaluate", str(export.run.folder.path), *words)
    config = ["--config", str(export.run.folder.config)]
    export_result = json_result("evaluate", str(export.base), *config, *words)
    assert export_result["validation"] == pytest.approx(run_result["validation"], abs=1e-6)
    for group, metrics in run_result["slices"]["item_popularity"].items():
        actual = export_result["slices"]["item_popularity"][group]
        assert actual == pytest.approx(metrics, abs=1e-6)
    bounds = "evaluation.item_popularity_bounds=[25]"
    of_version = json_result("evaluate", str(export.path), bounds, *config, *words)
    assert of_version["validation"] == export_result["validation"]
    assert list(of_version["slices"]["item_popularity"]) == ["0-24", "25+"]


def test_a_folder_of_runs_is_answered_with_its_runs(run) -> None:
    run_folder = written_run().folder.path
    code, output, errors = run("evaluate", str(run_folder.parent), "--json")
    assert (code, output) == (1, "") and f"\n  {run_folder}\n" in errors
    code, _, errors = run("evaluate", str(run_folder / "elsewhere"))
    assert code == 2 and f"there is no file or folder '{run_folder / 'elsewhere'}'" in errors


def test_wrong_use_is_explained(run, tmp_path: Path) -> None:
    folder, export = str(written_run().folder.path), str(exported().path)
    config = ["--config", str(written_run().folder.config)]
    for words, message in [
        ([folder, *config], "is a run, which has its own configuration"),
        ([folder, "training.seed=2"], "only evaluation.<key> can be changed"),
        ([folder, "--slices", "item.genre"], "Did you mean 'item.genres'?"),
        ([export], "is a SavedModel, which names no data; add --config"),
        ([export, *config, "--gates"], "an export has no gates"),
        ([export, *config, "--slices", "cold_items"], "Did you mean 'cold_item'?"),
        ([export, *config, "training.epoch=2"], "Did you mean 'training.epochs'?"),
    ]:
        code, output, errors = run("evaluate", *words, "--json")
        assert (code, output) == (2, ""), words
        assert message in errors
    code, output, errors = run("evaluate", str(tmp_path), *config, "--json")
    assert (code, output) == (1, "") and "no finished run" in errors and "no SavedModel" in errors


def scenario() -> Scenario:
    return scenario_from_tree(
        {
            "name": "films",
            "work_dir": "out/films",
            "data": {"interactions": {"path": "a.csv"}, "catalogue": {"path": "b.csv"}},
            "knowledge": {
                "answers": {"item": {"entity": "item", "individual": ["none.jsonl"]}},
                "sources": ["item"],
            },
        }
    )


def test_how_a_run_is_judged_can_be_changed() -> None:
    changed = with_evaluation(
        scenario(),
        ["evaluation.user_activity_bounds=[3, 9]", "evaluation.sparse_below=7"],
        COMPARE_KEYS,
    )
    assert changed.evaluation.user_activity_bounds == (3, 9)
    assert changed.evaluation.sparse_below == 7
    assert changed.model == scenario().model
    assert with_evaluation(scenario(), [], ()) == scenario()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.backbone=dcnv2", "'model.backbone': a run keeps the configuration"),
        ("evaluation.sparse=7", "Did you mean 'evaluation.sparse_below'"),
        ("evaluation.user_activity_bounds=[9, 3]", "ascending whole numbers from 1"),
        ("evaluation.item_popularity_bounds=[0, 3]", "ascending whole numbers from 1"),
        ("evaluation.memory_megabytes=1", "greater than or equal to 256"),
        ("cold", "write it as dotted.key=value"),
        ("evaluation.bootstrap_resamples=50", "has no effect here.* 'compare' has --resamples"),
        ("evaluation.bootstrap_seed=1", "has no effect here.* 'compare' has --seed"),
        ("evaluation.calibration_bins=5", "^evaluation.calibration_bins has no effect here"),
    ],
)
def test_nothing_else_can_be(override: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        with_evaluation(scenario(), [override], COMPARE_KEYS)


def test_the_intervals_of_slices_take_as_many_resamples_as_asked_for() -> None:
    assert set(COMPARE_KEYS) < set(EVALUATE_KEYS) < set(described_keys())
    changed = with_evaluation(scenario(), ["evaluation.bootstrap_resamples=50"], EVALUATE_KEYS)
    assert changed.evaluation.bootstrap_resamples == 50


def test_the_options_have_their_defaults() -> None:
    parser = argparse.ArgumentParser()
    add_field_options(parser, EvaluationOptions)
    assert vars(parser.parse_args([])) == {"part": "test", "slices": None}
