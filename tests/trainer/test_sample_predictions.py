from __future__ import annotations

import math

import numpy as np
import pytest

from trainer.predictions import SamplePredictions

# Pairs (positive, negative) in the right order: 3 of 4 over all, 1 of 1 for u1; u2 has one class.
PREDICTIONS = SamplePredictions(
    user_ids=np.array(["u1", "u1", "u2", "u3"]),
    item_ids=np.array(["a", "b", "a", "c"]),
    labels=np.array([1, 0, 1, 0], np.float32),
    scores=np.array([0.5, 0.25, 0.8, 0.6], np.float32),
    task_labels={"loved": np.array([0, 0, 1, 0], np.float32)},
    task_scores={"loved": np.array([0.2, 0.6, 0.4, 0.2], np.float32)},
)


def test_metrics_are_those_counted_by_hand() -> None:
    metrics = PREDICTIONS.metrics()
    assert PREDICTIONS.count == metrics["n"] == 4
    assert metrics["auc"] == pytest.approx(3 / 4)
    assert metrics["gauc"] == pytest.approx(1)
    assert metrics["logloss"] == pytest.approx(-math.log(0.5 * 0.75 * 0.8 * 0.4) / 4, rel=1e-6)
    assert metrics["tasks"]["loved"]["auc"] == pytest.approx(2 / 3)
    assert PREDICTIONS.selection_metric == "auc"


def test_the_table_has_columns_of_every_task() -> None:
    assert PREDICTIONS.table().slice(1, 1).to_pylist() == [
        {
            "user_id": "u1",
            "item_id": "b",
            "label": 0.0,
            "score": 0.25,
            "label_loved": 0.0,
            "score_loved": pytest.approx(0.6),
        }
    ]


def test_further_tasks_do_not_make_other_examples() -> None:
    label_alone = SamplePredictions(
        PREDICTIONS.user_ids, PREDICTIONS.item_ids, PREDICTIONS.labels, PREDICTIONS.scores
    )
    assert PREDICTIONS.is_of_same_examples(label_alone)
    swapped = SamplePredictions(
        PREDICTIONS.user_ids, PREDICTIONS.item_ids[::-1], PREDICTIONS.labels, PREDICTIONS.scores
    )
    assert not PREDICTIONS.is_of_same_examples(swapped)


def test_the_difference_is_that_of_the_auc() -> None:
    perfect = SamplePredictions(
        PREDICTIONS.user_ids, PREDICTIONS.item_ids, PREDICTIONS.labels, PREDICTIONS.labels
    )
    found = SamplePredictions.differences([PREDICTIONS], [perfect], resamples=20, seed=0)
    assert list(found) == ["auc"]
    assert found["auc"].difference == pytest.approx(1 / 4)
