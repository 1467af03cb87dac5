from __future__ import annotations

import functools
import json
from dataclasses import replace

import numpy as np
import pytest

from tests.trainer.report.synthetic import helpful_report, tuned_report
from trainer.experiments.results import CellFailure, ExperimentResult
from trainer.predictions import ListPredictions, SamplePredictions
from trainer.report.inputs import ReportInputs
from trainer.report.results import ExampleRankings, example_rankings, results_document
from trainer.report.statistics import popularity_slices, result_cells


def document_of(report: ReportInputs) -> dict:
    return results_document(report, result_cells(report), popularity_slices(report))


@pytest.fixture(scope="module")
def results() -> dict:
    return json.loads(json.dumps(document_of(helpful_report()), allow_nan=False))


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
        actual = by_key[run.backbone, run.knowledge, run.seed]
        assert actual["test"] == run.predictions.metrics()
        assert actual["validation"] == run.validation
        assert actual["train_seconds"] == run.train_seconds
        assert actual["epochs"] == run.epochs == len(run.history)


def test_comparisons_agree_with_the_runs(results) -> None:
    assert len(results["comparisons"]) == len(helpful_report().experiment.comparisons) > 0
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


def test_every_model_has_its_means_its_interval_and_its_cost(results) -> None:
    cells = result_cells(helpful_report())
    assert results["models"] == [
        {
            "backbone": cell.backbone,
            "knowledge": cell.knowledge,
            "auc": cell.value,
            "logloss": cell.means["logloss"],
            "gauc": cell.means["gauc"],
            "auc_ci_low": cell.low,
            "auc_ci_high": cell.high,
            "auc_by_seed": list(cell.seed_values),
            "auc_seed_deviation": cell.seed_deviation,
            "train_seconds": cell.train_seconds,
            "epochs": cell.epochs,
            "trainable_weights": 12_345,
        }
        for cell in cells
    ]


def test_comparisons_have_general_names_and_p_values(results) -> None:
    adjusted = {
        (each.backbone, each.knowledge): each.adjusted_p for each in helpful_report().comparisons
    }
    for row in results["comparisons"]:
        assert row["metric"] == results["metric"] == "auc"
        assert (row["baseline_value"], row["arm_value"], row["difference"]) == (
            row["auc_none"],
            row["auc_knowledge"],
            row["auc_difference"],
        )
        assert row["p_value_holm"] == adjusted[row["backbone"], row["knowledge"]] >= row["p_value"]
        assert row["significant"] == (row["p_value_holm"] < 0.05)
    assert any(row["significant"] for row in results["comparisons"])
    assert results["significance"]["comparisons"] == 4
    assert results["significance"]["smallest_adjusted_p"] == pytest.approx(4 * 2 / 201)
    assert (results["kind"], results["baseline"], results["seeds"]) == ("ctr", "none", [1, 2, 3])


def test_without_tuning_and_failures_there_are_none(results) -> None:
    assert (results["tuning"]["trials"], results["tuning"]["cells"]) == (0, [])
    assert results["failures"] == []
    assert {json.dumps(run["settings"]) for run in results["runs"]} == {"{}"}


def test_the_history_of_every_trial_is_there() -> None:
    tuning = json.loads(json.dumps(document_of(tuned_report())))
    cells = tuning["tuning"]["cells"]
    assert [(cell["backbone"], cell["knowledge"]) for cell in cells] == [
        (backbone, arm) for backbone in ("din", "dcnv2") for arm in ("none", "hein", "hein_match")
    ]
    first = cells[0]["trials"]
    assert [trial["state"] for trial in first] == ["complete", "complete", "failed"]
    assert (first[2]["validation"], first[2]["reason"]) == (None, "the loss is nan")
    assert cells[0]["settings"] == first[1]["settings"]
    assert tuning["runs"][0]["settings"]["training.learning_rate"] == 0.00125
    assert tuning["tuning"]["space"]["training.batch_size"]["choices"] == [256, 512]


def test_failures_are_passed_on() -> None:
    report = helpful_report()
    failure = CellFailure("din", "hein", "seed 2", "no space left")
    experiment = replace(report.experiment, failures=[failure])
    assert document_of(replace(report, experiment=experiment))["failures"] == [
        {"backbone": "din", "knowledge": "hein", "what": "seed 2", "reason": "no space left"}
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


@functools.cache
def helpful_rankings() -> ExampleRankings:
    rankings = example_rankings(helpful_report())
    assert rankings is not None
    return rankings


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Share of pairs in order; the scores of these tests have no ties."""
    return float((scores[labels == 1][:, None] > scores[labels == 0][None, :]).mean())


def test_shares_are_of_all_users_with_enough_samples_of_both_labels() -> None:
    rankings = helpful_rankings()
    best = helpful_report().experiment.best_run("din")
    (baseline,) = (
        run for run in helpful_report().experiment.runs_of("din", "none") if run.seed == best.seed
    )
    assert (rankings.backbone, rankings.baseline, rankings.arm) == ("din", "none", best.knowledge)
    changes = []
    for user in set(baseline.predictions.user_ids):
        rows = baseline.predictions.user_ids == user
        labels = baseline.predictions.labels[rows]
        if rows.sum() >= 10 and 0 < labels.sum() < len(labels):
            after = auc(labels, best.predictions.scores[rows])
            changes.append(after - auc(labels, baseline.predictions.scores[rows]))
    assert rankings.drawn_from == len(changes)
    assert rankings.share_better == sum(change > 0 for change in changes) / len(changes)
    assert rankings.share_worse == sum(change < 0 for change in changes) / len(changes)


def one_user(scores: dict[str, list[float]]) -> ExampleRankings | None:
    labels = np.array([1, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    items = np.array([f"i{number}" for number in range(10)], dtype=object)
    users = np.array(["u"] * 10, dtype=object)
    report = helpful_report()
    runs = [
        replace(
            run,
            predictions=SamplePredictions(users, items, labels, np.array(scores[run.knowledge])),
        )
        for run in report.experiment.runs
        if run.knowledge in scores and run.backbone == "din"
    ]
    return example_rankings(
        replace(
            report,
            experiment=replace(report.experiment, runs=runs),
            titles={"i3": "Three", "i9": ""},
        )
    )


def test_places_moves_titles_and_auc_of_a_user() -> None:
    falling = [1.0 - number / 10 for number in range(10)]
    raised = [falling[0], *falling[1:3], 0.95, *falling[4:]]
    rankings = one_user({"none": falling, "hein_match": raised})
    assert rankings is not None and rankings.drawn_from == 1
    (user,) = rankings.users
    assert (user.items, user.liked) == (10, 2)
    assert [item.name for item in user.without] == ["i0", "i1", "i2", "Three", "i4", "i5"]
    assert [
        (item.name, item.liked, item.place, item.place_without) for item in user.with_knowledge
    ] == [
        ("i0", True, 1, 1),
        ("Three", True, 2, 4),
        ("i1", False, 3, 2),
        ("i2", False, 4, 3),
        ("i4", False, 5, 5),
        ("i5", False, 6, 6),
    ]
    assert user.auc_without == pytest.approx(14 / 16)
    assert user.auc_with == 1.0
    assert (rankings.share_better, rankings.share_worse) == (1.0, 0.0)


def test_who_is_shown_does_not_depend_on_results() -> None:
    report = helpful_report()
    turned = [
        replace(run, predictions=replace(run.predictions, scores=1 - run.predictions.scores))
        for run in report.experiment.runs
    ]
    rankings = example_rankings(replace(report, experiment=replace(report.experiment, runs=turned)))
    assert rankings is not None
    assert [(user.items, user.liked) for user in rankings.users] == [
        (user.items, user.liked) for user in helpful_rankings().users
    ]
    assert [user.auc_with for user in rankings.users] == pytest.approx(
        [1 - user.auc_with for user in helpful_rankings().users]
    )


def test_there_are_none_without_an_arm_or_without_samples_of_both_labels() -> None:
    report = helpful_report()
    alone = [run for run in report.experiment.runs if run.knowledge == "none"]
    assert example_rankings(replace(report, experiment=ExperimentResult(alone, []))) is None
    all_liked = [
        replace(
            run, predictions=replace(run.predictions, labels=np.ones_like(run.predictions.labels))
        )
        for run in report.experiment.runs
    ]
    assert (
        example_rankings(replace(report, experiment=replace(report.experiment, runs=all_liked)))
        is None
    )


def test_a_re_ranker_ranks_lists_that_are_not_shown() -> None:
    report = helpful_report()
    lists = ListPredictions(
        *np.full([2, 3, 1], "u", dtype=object), np.ones([3, 1]), np.ones([3, 1])
    )
    runs = [replace(run, predictions=lists) for run in report.experiment.runs]
    assert example_rankings(replace(report, experiment=ExperimentResult(runs, []))) is None
