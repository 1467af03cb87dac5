from __future__ import annotations

import math

import numpy as np
import pytest

from trainer.evaluation.metric_sums import SampleSums
from trainer.evaluation.slices import NumberSlice

KINDS = ("mixed", "only positive", "only negative", "one each", "none")


def summed(has_lists: bool = False) -> SampleSums:
    """Groups by number: 0 mixed, 1 only positive, 2 only negative, 3 users of one class, 4 none."""
    batch = {
        "number": np.array([0, 0, 0, 1, 1, 2, 3, 3]),
        "user_id": np.array([0, 0, 0, 1, 2, 2, 3, 4]),
        "list_id": np.array([0, 1, 1, 2, 3, 3, 4, 5]),
        "label": np.array([1, 0, 1, 1, 1, 0, 0, 1]),
        "score": np.array([0.8, 0.5, 0.2, 0.5, 0.75, 0.25, 0.5, 0.75]),
    }
    sums = SampleSums(NumberSlice("number", KINDS, "number", [1, 2, 3, 4]), has_lists)
    ascending = np.argsort(batch["score"], kind="stable")
    sums.add_ascending({name: values[ascending] for name, values in batch.items()})
    sums.end_ascending()
    sums.add_users(batch)
    return sums


def test_a_hand_computed_group() -> None:
    metrics = summed().metrics(0)
    assert metrics["auc"] == metrics["gauc"] == metrics["gauc_mean"] == 1 / 2
    loss = -(math.log(0.8) + math.log(0.5) + math.log(0.2)) / 3
    assert metrics["logloss"] == pytest.approx(loss)
    entropy = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert metrics["normalised_entropy"] == pytest.approx(loss / entropy)
    assert metrics["calibration_ratio"] == pytest.approx(0.5 / (2 / 3))
    assert (metrics["mean_score"], metrics["base_rate"]) == pytest.approx((0.5, 2 / 3))
    assert metrics["mrr"] == metrics["hit_rate_at_1"] == 1.0
    assert metrics["map_at_3"] == pytest.approx((1 + 2 / 3) / 2)
    assert (metrics["n"], metrics["users"], metrics["users_without_positive"]) == (3, 1, 0)
    assert "reason" not in metrics and "lists" not in metrics


@pytest.mark.parametrize(
    ("group", "reason", "without_value"),
    [
        (1, "all samples have label 1", {"auc", "gauc", "gauc_mean", "normalised_entropy"}),
        (2, "all samples have label 0", {"auc", "ndcg_at_10", "mrr", "calibration_ratio"}),
        (3, "no user has samples of both classes", {"gauc", "gauc_mean"}),
        (4, "no samples", {"auc", "logloss", "gauc", "mean_score", "base_rate", "mrr"}),
    ],
)
def test_a_metric_without_a_value_is_none_with_a_reason(
    group: int, reason: str, without_value: set[str]
) -> None:
    metrics = summed().metrics(group)
    assert metrics["reason"] == reason
    assert without_value <= {name for name, value in metrics.items() if value is None}
    assert not any(isinstance(value, float) and math.isnan(value) for value in metrics.values())
    if group == 3:
        assert metrics["auc"] == 1.0


def test_the_lacking_class_is_known_after_the_first_pass() -> None:
    sums = summed()
    assert [sums.missing_class(group) for group in (0, 3)] == [None, None]
    assert sums.missing_class(4) == "no samples"


def test_lists_are_counted_apart_from_users() -> None:
    metrics = summed(has_lists=True).metrics(0)
    assert (metrics["users"], metrics["lists"], metrics["lists_without_positive"]) == (1, 2, 0)
    # The second list has its positive candidate behind the other.
    assert metrics["mrr"] == pytest.approx((1 + 1 / 2) / 2)
    assert "users_without_positive" not in metrics
