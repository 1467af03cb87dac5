from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.trainer.report.synthetic import helpful_report
from trainer.report.cells import result_cells
from trainer.report.inputs import ReportInputs
from trainer.report.results import results_document
from trainer.report.slices import popularity_slices

METRICS = {"auc", "logloss", "gauc", "n"}


def document_of(report: ReportInputs) -> dict:
    return results_document(report, result_cells(report), popularity_slices(report))


@pytest.fixture(scope="module")
def results() -> dict:
    return json.loads(json.dumps(document_of(helpful_report()), allow_nan=False))


def test_the_named_keys_are_there(results) -> None:
    assert set(results) >= {
        "runs",
        "comparisons",
        "leak_violations",
        "served_max_abs_difference",
        "steps",
    }
    for run in results["runs"]:
        assert set(run) == {
            "backbone",
            "knowledge",
            "seed",
            "validation",
            "test",
            "train_seconds",
            "epochs",
        }
        assert set(run["validation"]) == set(run["test"]) == METRICS
    for comparison in results["comparisons"]:
        assert set(comparison) == {
            "backbone",
            "knowledge",
            "auc_none",
            "auc_knowledge",
            "auc_difference",
            "ci_low",
            "ci_high",
            "relative_lift",
        }
    for step in results["steps"]:
        assert set(step) >= {"name", "seconds", "records_in", "records_out", "dead_letters"}


def test_runs_are_ordered_by_backbone_knowledge_and_seed(results) -> None:
    assert [(run["backbone"], run["knowledge"], run["seed"]) for run in results["runs"]] == [
        (backbone, knowledge, seed)
        for backbone in ("din", "dcnv2")
        for knowledge in ("none", "hein", "hein_match")
        for seed in (1, 2, 3)
    ]


def test_every_run_has_its_own_figures(results) -> None:
    by_key = {(run["backbone"], run["knowledge"], run["seed"]): run for run in results["runs"]}
    for run in helpful_report().experiment.runs:
        found = by_key[run.backbone, run.knowledge, run.seed]
        assert found["test"] == run.predictions.metrics()
        assert found["validation"] == run.validation
        assert found["train_seconds"] == run.train_seconds
        assert found["epochs"] == run.epochs == len(run.history)


def test_comparisons_agree_with_the_runs(results) -> None:
    for comparison in results["comparisons"]:
        none, knowledge = (
            [
                run["test"]["auc"]
                for run in results["runs"]
                if (run["backbone"], run["knowledge"]) == (comparison["backbone"], arm)
            ]
            for arm in ("none", comparison["knowledge"])
        )
        assert comparison["auc_none"] == pytest.approx(sum(none) / 3)
        assert comparison["auc_knowledge"] == pytest.approx(sum(knowledge) / 3)
        difference = comparison["auc_difference"]
        assert difference == pytest.approx((sum(knowledge) - sum(none)) / 3)
        assert comparison["ci_low"] < difference < comparison["ci_high"]
        assert comparison["relative_lift"] == pytest.approx(difference / comparison["auc_none"])


def test_gates_leak_and_serving_are_passed_on(results) -> None:
    report = helpful_report()
    weights = report.gates["din/hein"].by_source["user"]
    assert results["gates"]["din/hein"]["user"] == weights.tolist()
    assert results["gate_models"]["din/hein"] == {"seed": 1, "num_shared_experts": 2}
    assert set(results["gate_models"]) == set(results["gates"])
    assert results["leak_violations"] == 0
    assert results["leak_check"] == report.leak["leak_check"]
    assert results["served_max_abs_difference"] == 2.4e-7
    assert results["steps"] == [
        {**report.steps[0], "history_only": 0, "reused": 0, "skipped": False},
        {**report.steps[1], "reused": 0, "skipped": False},
    ]


def test_steps_say_what_was_not_repeated() -> None:
    report = helpful_report()
    steps = [{**report.steps[0], "skipped": True}, {**report.steps[1], "reused": 7}]
    first, second = document_of(replace(report, steps=steps))["steps"]
    assert (first["skipped"], first["reused"]) == (True, 0)
    assert (second["skipped"], second["reused"]) == (False, 7)


def test_every_model_has_its_means_and_the_interval_of_its_auc(results) -> None:
    cells = result_cells(helpful_report())
    assert results["models"] == [
        {
            "backbone": cell.backbone,
            "knowledge": cell.knowledge,
            "auc": cell.auc,
            "auc_ci_low": cell.auc_low,
            "auc_ci_high": cell.auc_high,
            "logloss": cell.logloss,
            "gauc": cell.gauc,
        }
        for cell in cells
    ]


def test_every_run_has_its_learning_curve(results) -> None:
    curves = {
        (curve["backbone"], curve["knowledge"], curve["seed"]): curve["epochs"]
        for curve in results["learning_curves"]
    }
    assert curves == {
        (run.backbone, run.knowledge, run.seed): run.history
        for run in helpful_report().experiment.runs
    }
    assert [epoch["epoch"] for epoch in curves["din", "none", 1]][:3] == [1, 2, 3]


def test_arms_are_described(results) -> None:
    assert list(results["arms"]) == ["none", "hein", "hein_match"]
    assert results["arms"]["none"]["description"] == ""
    assert results["arms"]["hein"] == {
        "description": "Knowledge as fields.",
        "overrides": {"model.adapter": "hein", "model.match": "none"},
    }


def test_slices_without_figures_are_null() -> None:
    report = replace(helpful_report(), training_counts={}, served_max_abs_difference=None)
    results = document_of(report)
    first, second = results["popularity_slices"][:2]
    assert first["training_interactions"] == "0 (cold)"
    assert first["auc_difference"] == pytest.approx(
        report.experiment.comparisons[0].difference.difference
    )
    assert second["samples"] == 0
    assert second["auc_difference"] is second["ci_low"] is second["relative_lift"] is None
    assert results["served_max_abs_difference"] is None
