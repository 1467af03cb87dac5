from __future__ import annotations

import statistics
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tests.runs import rich_run
from tests.trainer.report.synthetic import helpful_report, tuned_report
from trainer.evaluation.runs import predict_run
from trainer.report.inputs import ReportInputs
from trainer.report.statistics import (
    BUCKETS,
    COLD,
    CellResult,
    interaction_counts,
    main_metric_interval,
    popularity_slices,
    result_cells,
)


def key_of(cell: CellResult) -> tuple[str, str]:
    return cell.backbone, cell.knowledge


def test_a_cell_has_the_means_over_its_seeds() -> None:
    report = helpful_report()
    cells = result_cells(report)
    assert [(cell.backbone, cell.knowledge) for cell in cells] == [
        (backbone, arm) for backbone in ("din", "dcnv2") for arm in ("none", "hein", "hein_match")
    ]
    for cell in cells:
        tests = [
            run.predictions for run in report.experiment.runs_of(cell.backbone, cell.knowledge)
        ]
        aucs = [roc_auc_score(test.labels, test.scores) for test in tests]
        losses = [log_loss(test.labels, test.scores) for test in tests]
        assert cell.seed_values == pytest.approx(aucs, abs=1e-12)
        assert list(cell.means) == ["auc", "logloss", "gauc"]
        assert cell.value == cell.means["auc"] == pytest.approx(np.mean(aucs), abs=1e-12)
        assert cell.means["logloss"] == pytest.approx(np.mean(losses), abs=1e-12)
        assert cell.seed_deviation == pytest.approx(statistics.stdev(aucs))
        seconds = [run.train_seconds for run in report.experiment.runs_of(*key_of(cell))]
        assert cell.train_seconds == pytest.approx(np.mean(seconds))
        assert cell.trainable_weights == 12_345


def test_a_cell_carries_its_comparison_and_the_baseline_none() -> None:
    report = helpful_report()
    compared = {(each.backbone, each.knowledge): each for each in report.experiment.comparisons}
    for cell in result_cells(report):
        assert cell.comparison == compared.get(key_of(cell))
        assert (cell.comparison is None) == (cell.knowledge == "none")


def test_one_seed_has_no_deviation() -> None:
    report = helpful_report()
    runs = [run for run in report.experiment.runs if run.seed == 2]
    cells = result_cells(replace(report, experiment=replace(report.experiment, runs=runs)))
    assert [cell.seed_deviation for cell in cells] == [None] * 6


def test_the_auc_interval_of_one_seed_is_that_of_resampled_users() -> None:
    report = helpful_report()
    one = [run for run in report.experiment.runs_of("din", "none") if run.seed == 2]
    report = replace(report, experiment=replace(report.experiment, runs=one, comparisons=[]))
    cell = result_cells(report)[0]
    test = report.experiment.runs[0].predictions
    runs = report.experiment.runs_of("din", "none")
    users, index = np.unique(test.user_ids, return_inverse=True)
    generator = np.random.default_rng(report.scenario.evaluation.bootstrap_seed)
    aucs = []
    for _ in range(report.scenario.evaluation.bootstrap_resamples):
        times = generator.multinomial(len(users), np.full(len(users), 1 / len(users)))
        rows = np.repeat(np.arange(len(index)), times[index])
        aucs.append(
            np.mean(
                [roc_auc_score(test.labels[rows], run.predictions.scores[rows]) for run in runs]
            )
        )
    assert (cell.low, cell.high) == pytest.approx(np.percentile(aucs, [2.5, 97.5]), abs=1e-12)
    assert cell.low < cell.value < cell.high


def test_the_interval_of_several_seeds_is_wider_than_that_of_their_users() -> None:
    report = helpful_report()
    cell = result_cells(report)[0]
    runs = report.experiment.runs_of("din", "none")
    alike = [replace(run, predictions=runs[0].predictions) for run in runs]
    users_only = result_cells(
        replace(report, experiment=replace(report.experiment, runs=alike, comparisons=[]))
    )[0]
    assert cell.high - cell.low > users_only.high - users_only.low
    assert cell.low < cell.value < cell.high


@pytest.mark.parametrize("backbone", ["prm", "two_tower"])
def test_the_interval_of_a_mean_is_that_of_resampled_users(backbone: str) -> None:
    predictions = predict_run(rich_run(backbone).folder.path, "test")
    low, high = main_metric_interval([predictions], resamples=40, seed=3)
    if backbone == "prm":
        value = predictions.metrics()["ndcg_at_10"]
        examples = _ndcg_by_list(predictions)
        users = predictions.user_ids[examples >= 0]
        values = examples[examples >= 0]
    else:
        value = predictions.metrics()["new_items_recall_at_10"]
        users, values = predictions.user_ids, predictions.among_new.hits(10)
    assert values.mean() == pytest.approx(value, abs=1e-9)
    names, index = np.unique(users, return_inverse=True)
    generator = np.random.default_rng(3)
    means = []
    for _ in range(40):
        times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)))
        means.append(np.average(values, weights=times[index]))
    assert (low, high) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=1e-9)
    assert low <= value <= high


def _ndcg_by_list(predictions) -> np.ndarray:
    """NDCG@10 of binary labels, list by list; -1 without a positive candidate."""
    collected = []
    for labels, scores, items in zip(
        predictions.labels, predictions.scores, predictions.item_ids, strict=True
    ):
        kept = items != ""
        ranked = labels[kept][np.argsort(-scores[kept].astype(np.float64), kind="stable")][:10]
        discounts = 1 / np.log2(np.arange(2, 12))
        best = discounts[: min(10, int(labels[kept].sum()))].sum()
        collected.append((ranked * discounts[: len(ranked)]).sum() / best if best else -1)
    return np.array(collected)


def test_the_interval_of_an_auc_holds_it() -> None:
    runs = [run.predictions for run in helpful_report().experiment.runs_of("din", "none")]
    low, high = main_metric_interval(runs, resamples=60, seed=0)
    mean = np.mean([run.metrics()["auc"] for run in runs])
    assert low < mean < high < 1


BOUNDS = {"0 (cold)": (0, 0), "1-4": (1, 4), "5-19": (5, 19), "20-99": (20, 99), "100+": (100, 1e9)}


def test_the_buckets_are_named_and_cover_every_count_once() -> None:
    counts = np.arange(2000)
    assert [bucket.name for bucket in BUCKETS] == list(BOUNDS)
    assert np.sum([bucket.contains(counts) for bucket in BUCKETS], axis=0).tolist() == [1] * 2000


@pytest.mark.parametrize("bucket", BUCKETS, ids=lambda bucket: bucket.name)
def test_a_bucket_contains_its_bounds_only(bucket) -> None:
    low, high = BOUNDS[bucket.name]
    counts = np.array([low - 1, low, min(high, 10_000), high + 1])
    assert bucket.contains(counts).tolist()[:3] == [False, True, True]
    assert bucket.contains(counts)[3] == (bucket.highest is None)


def test_an_item_that_training_never_saw_counts_as_cold() -> None:
    counts = interaction_counts(np.array(["a", "b", "a", "c"], dtype=object), {"a": 7, "c": 1})
    assert counts.tolist() == [7, 0, 7, 1]


def test_slices_are_a_plain_recomputation_on_the_chosen_rows() -> None:
    report = helpful_report()
    slices = popularity_slices(report)
    assert len(slices) == len(report.comparisons) * len(BUCKETS)
    for each in slices:
        low, high = BOUNDS[each.bucket.name]
        sides = [report.experiment.runs_of(each.backbone, arm) for arm in ("none", each.knowledge)]
        test = sides[0][0].predictions
        rows = [
            row
            for row, item in enumerate(test.item_ids)
            if low <= report.training_counts.get(item, 0) <= high
        ]
        assert each.samples == len(rows) >= 50
        assert each.users == len({test.user_ids[row] for row in rows})
        none, knowledge = (
            np.mean(
                [roc_auc_score(test.labels[rows], run.predictions.scores[rows]) for run in side]
            )
            for side in sides
        )
        assert each.difference is not None
        assert each.difference.baseline == pytest.approx(none, abs=1e-12)
        assert each.difference.candidate == pytest.approx(knowledge, abs=1e-12)
        assert each.difference.low < each.difference.difference < each.difference.high


def test_every_test_sample_is_in_one_bucket() -> None:
    report = helpful_report()
    samples = {}
    for each in popularity_slices(report):
        key = (each.backbone, each.knowledge)
        samples[key] = samples.get(key, 0) + each.samples
    assert set(samples.values()) == {len(report.experiment.runs[0].predictions.labels)}


def with_cold_items(report: ReportInputs, cold: set[str]) -> ReportInputs:
    items = set(report.experiment.runs[0].predictions.item_ids)
    return replace(report, training_counts=dict.fromkeys(items - cold, 10))


def test_less_than_fifty_samples_are_too_few() -> None:
    report = helpful_report()
    items, times = np.unique(report.experiment.runs[0].predictions.item_ids, return_counts=True)
    rare = str(items[np.argmin(times)])
    report = with_cold_items(report, {rare})
    cold = [each for each in popularity_slices(report) if each.bucket == COLD]
    assert [each.samples for each in cold] == [times.min()] * 4
    assert [each.difference for each in cold] == [None] * 4


def test_samples_of_one_class_have_no_auc() -> None:
    report = helpful_report()
    test = report.experiment.runs[0].predictions
    liked = test.item_ids[test.labels == 1]
    only_liked = set(liked) - set(test.item_ids[test.labels == 0])
    for run in report.experiment.runs:
        assert run.predictions.labels is test.labels
    cold = with_cold_items(report, only_liked)
    actual = next(found for found in popularity_slices(cold) if found.bucket == COLD)
    assert actual.samples == sum(item in only_liked for item in test.item_ids) >= 50
    assert actual.difference is None


def test_an_empty_bucket_is_too_few() -> None:
    empty = [
        each
        for each in popularity_slices(with_cold_items(helpful_report(), set()))
        if each.bucket == COLD
    ]
    assert [(each.samples, each.users, each.difference) for each in empty] == [(0, 0, None)] * 4


def test_the_time_of_all_trials_counts() -> None:
    assert [cell.tuning_seconds for cell in result_cells(tuned_report())] == [23.5] * 6
    assert {cell.tuning_seconds for cell in result_cells(helpful_report())} == {None}
