from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from preprocessing.records.contract import REQUEST_FEATURES
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset
from preprocessing.records.tfrecord_file import read_records, write_records
from serving.model_card.card import measure
from tests.runs import random_model, rich_run, written_run
from tests.scenarios import copied_scenario, list_files_anew


def scored(part: str = "validation") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and users of a part, asked of the model on raw features."""
    run = written_run()
    files = WorkDirectory(run.scenario.work_dir).examples.shards(part)
    (batch,) = example_dataset(files, 4096)
    # The fold of the user is for training, which leaves the user's own ratings out.
    raw = {feature.name: batch[feature.name] for feature in REQUEST_FEATURES}
    scores = run.model.probabilities(raw).numpy()
    return batch["label"].numpy(), scores, batch["user_id"].numpy()


def test_metrics_are_those_of_scikit_learn_inside_their_intervals() -> None:
    run = written_run()
    labels, scores, users = scored()
    actual = measure(run.scenario, run.model)
    assert (actual.part, actual.kind, actual.is_whole, actual.reason) == (
        "validation",
        "ctr",
        True,
        "",
    )
    assert actual.examples == actual.metrics["n"] == len(labels)
    assert actual.resamples == run.scenario.evaluation.bootstrap_resamples == 50
    weighted, counts = [], []
    for user in set(users):
        own = users == user
        if len(set(labels[own])) == 2:
            weighted.append(roc_auc_score(labels[own], scores[own]))
            counts.append(own.sum())
    expected = {
        "auc": roc_auc_score(labels, scores),
        "logloss": log_loss(labels, scores),
        "gauc": np.average(weighted, weights=counts),
        "mean_score_minus_base_rate": scores.mean() - labels.mean(),
    }
    assert set(actual.intervals) == set(expected)
    for name, value in expected.items():
        interval = actual.intervals[name]
        assert interval.value == pytest.approx(value, abs=1e-6), name
        assert interval.low < interval.value < interval.high, name
        if name in actual.metrics:
            assert actual.metrics[name] == pytest.approx(value, abs=1e-6)


def test_slices_divide_the_samples() -> None:
    run = written_run()
    actual = measure(run.scenario, run.model)
    assert set(actual.slices) == {
        *("user_activity", "item_popularity", "cold_user", "cold_item"),
        *("knowledge.item", "knowledge.user"),
    }
    for groups in actual.slices.values():
        assert sum(group["n"] for group in groups.values()) == actual.examples


def test_the_test_part_is_read_where_it_is_asked_for() -> None:
    run = written_run()
    labels, scores, _ = scored("test")
    actual = measure(run.scenario, run.model, "test")
    assert actual.part == "test"
    assert actual.intervals["auc"].value == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)


def test_a_search_is_judged_by_its_recall() -> None:
    run = rich_run("two_tower")
    actual = measure(run.scenario, run.model)
    assert set(actual.intervals) == {"new_items_recall_at_10", "recall_at_10"}
    for name, interval in actual.intervals.items():
        assert interval.value == pytest.approx(actual.metrics[name], abs=1e-9)
        assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert set(actual.slices) >= {"cold_item", "knowledge.item"}


def test_a_reranker_is_judged_by_its_candidates() -> None:
    run = rich_run("prm")
    actual = measure(run.scenario, run.model)
    assert actual.kind == "rerank"
    assert actual.intervals["auc"].value == pytest.approx(actual.metrics["auc"], abs=1e-9)
    assert "ndcg_at_10" in actual.metrics


def test_a_part_of_one_class_is_not_judged_and_the_reason_kept(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path, model__adapter="none")
    for number, file in enumerate(WorkDirectory(scenario.work_dir).examples.shards("validation")):
        write_records(file, [] if number else list(read_records(file))[:1])
    list_files_anew(WorkDirectory(scenario.work_dir).examples)
    actual = measure(scenario, random_model(scenario))
    assert actual.reason == "AUC needs samples of both classes"
    assert (actual.examples, actual.intervals, actual.metrics) == (1, {}, {})
