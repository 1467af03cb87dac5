from __future__ import annotations

import numpy as np
import pytest

from tests.runs import rich_run
from tests.trainer.report.synthetic import helpful_report
from trainer.evaluation.runs import predict_run
from trainer.report.cells import main_metric_interval


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
    found = []
    for labels, scores, items in zip(
        predictions.labels, predictions.scores, predictions.item_ids, strict=True
    ):
        kept = items != ""
        ranked = labels[kept][np.argsort(-scores[kept].astype(np.float64), kind="stable")][:10]
        discounts = 1 / np.log2(np.arange(2, 12))
        best = discounts[: min(10, int(labels[kept].sum()))].sum()
        found.append((ranked * discounts[: len(ranked)]).sum() / best if best else -1)
    return np.array(found)


def test_the_interval_of_an_auc_holds_it() -> None:
    runs = [run.predictions for run in helpful_report().experiment.runs_of("din", "none")]
    low, high = main_metric_interval(runs, resamples=60, seed=0)
    mean = np.mean([run.metrics()["auc"] for run in runs])
    assert low < mean < high < 1
