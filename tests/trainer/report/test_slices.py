from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.trainer.report.synthetic import helpful_report
from trainer.report.inputs import ReportInputs
from trainer.report.table import BUCKETS, COLD, interaction_counts, popularity_slices

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
    for found in slices:
        low, high = BOUNDS[found.bucket.name]
        sides = [
            report.experiment.runs_of(found.backbone, arm) for arm in ("none", found.knowledge)
        ]
        test = sides[0][0].predictions
        rows = [
            row
            for row, item in enumerate(test.item_ids)
            if low <= report.training_counts.get(item, 0) <= high
        ]
        assert found.samples == len(rows) >= 50
        assert found.users == len({test.user_ids[row] for row in rows})
        none, knowledge = (
            np.mean(
                [roc_auc_score(test.labels[rows], run.predictions.scores[rows]) for run in side]
            )
            for side in sides
        )
        assert found.difference is not None
        assert found.difference.baseline == pytest.approx(none, abs=1e-12)
        assert found.difference.candidate == pytest.approx(knowledge, abs=1e-12)
        assert found.difference.low < found.difference.difference < found.difference.high


def test_every_test_sample_is_in_one_bucket() -> None:
    report = helpful_report()
    samples = {}
    for found in popularity_slices(report):
        key = (found.backbone, found.knowledge)
        samples[key] = samples.get(key, 0) + found.samples
    assert set(samples.values()) == {len(report.experiment.runs[0].predictions.labels)}


def with_cold_items(report: ReportInputs, cold: set[str]) -> ReportInputs:
    items = set(report.experiment.runs[0].predictions.item_ids)
    return replace(report, training_counts=dict.fromkeys(items - cold, 10))


def test_less_than_fifty_samples_are_too_few() -> None:
    report = helpful_report()
    items, times = np.unique(report.experiment.runs[0].predictions.item_ids, return_counts=True)
    rare = str(items[np.argmin(times)])
    report = with_cold_items(report, {rare})
    cold = [found for found in popularity_slices(report) if found.bucket == COLD]
    assert [found.samples for found in cold] == [times.min()] * 4
    assert [found.difference for found in cold] == [None] * 4


def test_samples_of_one_class_have_no_auc() -> None:
    report = helpful_report()
    test = report.experiment.runs[0].predictions
    liked = test.item_ids[test.labels == 1]
    only_liked = set(liked) - set(test.item_ids[test.labels == 0])
    for run in report.experiment.runs:
        assert run.predictions.labels is test.labels
    cold = with_cold_items(report, only_liked)
    found = next(found for found in popularity_slices(cold) if found.bucket == COLD)
    assert found.samples == sum(item in only_liked for item in test.item_ids) >= 50
    assert found.difference is None


def test_an_empty_bucket_is_too_few() -> None:
    empty = [
        found
        for found in popularity_slices(with_cold_items(helpful_report(), set()))
        if found.bucket == COLD
    ]
    assert [(found.samples, found.users, found.difference) for found in empty] == [(0, 0, None)] * 4
