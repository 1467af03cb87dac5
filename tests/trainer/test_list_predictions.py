from __future__ import annotations

import math

import numpy as np
import pytest

from trainer.predictions import ListPredictions

SECOND_PLACE = 1 / math.log2(3)
"""NDCG of a list whose only positive candidate stands second."""


def lists(first_scores: list[float]) -> ListPredictions:
    """Three lists: one positive, one positive of two candidates, none."""
    return ListPredictions(
        user_ids=np.array(["u1", "u2", "u1"]),
        item_ids=np.array([["a", "b", "c"], ["d", "e", ""], ["f", "", ""]]),
        labels=np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], np.float32),
        scores=np.array([first_scores, [0.75, 0.5, 0], [0.25, 0, 0]], np.float32),
    )


SECOND = lists([0.875, 0.625, 0.125])
FIRST = lists([0.375, 0.625, 0.125])


def test_padding_is_no_candidate() -> None:
    assert SECOND.count == 6
    assert SECOND.mask.tolist() == [[True] * 3, [True, True, False], [True, False, False]]
    table = SECOND.table()
    assert table["list_id"].to_pylist() == [0, 0, 0, 1, 1, 2]
    assert table["user_id"].to_pylist() == ["u1", "u1", "u1", "u2", "u2", "u1"]
    assert table["item_id"].to_pylist() == list("abcdef")
    assert table["label"].to_pylist() == [0, 1, 0, 1, 0, 0]
    assert table["score"].to_pylist() == [0.875, 0.625, 0.125, 0.75, 0.5, 0.25]


def test_metrics_are_those_counted_by_hand() -> None:
    metrics = SECOND.metrics()
    assert (metrics["n"], metrics["lists"], metrics["lists_without_positive"]) == (6, 3, 1)
    assert metrics[SECOND.selection_metric] == pytest.approx((SECOND_PLACE + 1) / 2)
    # Of 2 x 4 pairs only those of the negative candidate with the highest score are wrong.
    assert metrics["auc"] == pytest.approx(6 / 8)


def test_differences_are_those_of_auc_and_ndcg() -> None:
    found = ListPredictions.differences([SECOND], [FIRST], resamples=20, seed=0)
    assert list(found) == ["auc", "ndcg_at_10"]
    assert found["auc"].difference == pytest.approx(2 / 8)
    assert found["ndcg_at_10"].difference == pytest.approx((1 - SECOND_PLACE) / 2)


def test_scores_do_not_make_other_examples() -> None:
    assert SECOND.is_of_same_examples(FIRST)
    users = np.array(["u2", "u1", "u1"])
    other = ListPredictions(users, SECOND.item_ids, SECOND.labels, SECOND.scores)
    assert not SECOND.is_of_same_examples(other)
