from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from tests.trainer.report.synthetic import helpful_report
from trainer.experiments.results import ExperimentResult
from trainer.predictions import ListPredictions, SamplePredictions
from trainer.report.rankings import ExampleRankings, example_rankings


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
