from __future__ import annotations

import numpy as np
import pytest

from trainer.metrics import Ranks
from trainer.predictions import RetrievalPredictions


def found(better_new: list[int], tied_new: list[int]) -> RetrievalPredictions:
    """Four examples of three users."""
    return RetrievalPredictions(
        user_ids=np.array(["u1", "u1", "u2", "u3"]),
        item_ids=np.array(["a", "b", "a", "c"]),
        among_all=Ranks(np.array([20, 40, 9, 0]), np.array([0, 0, 3, 0])),
        among_new=Ranks(np.array(better_new), np.array(tied_new)),
    )


# One of the places 10 to 13 of the third example is among the first ten: a quarter of a hit.
PREDICTIONS = found([10, 9, 9, 0], [0, 0, 3, 0])


def test_the_table_counts_ranks_from_1() -> None:
    assert PREDICTIONS.count == 4
    table = PREDICTIONS.table()
    assert table["rank"].to_pylist() == [21, 41, 11.5, 1]
    assert table["rank_new_items"].to_pylist() == [11, 10, 11.5, 1]
    assert table["user_id"].to_pylist() == ["u1", "u1", "u2", "u3"]
    assert table["item_id"].to_pylist() == ["a", "b", "a", "c"]


def test_epochs_are_chosen_by_the_recall_among_new_items() -> None:
    metrics = PREDICTIONS.metrics()
    assert metrics["n"] == 4
    assert metrics["recall_at_10"] == pytest.approx((0 + 0 + 0.25 + 1) / 4)
    assert PREDICTIONS.selection_metric == "new_items_recall_at_10"
    assert metrics[PREDICTIONS.selection_metric] == pytest.approx((0 + 1 + 0.25 + 1) / 4)


def test_the_difference_is_that_of_the_recall_among_new_items() -> None:
    better = found([0, 0, 0, 0], [0, 0, 0, 0])
    (name, difference), *others = RetrievalPredictions.differences(
        [PREDICTIONS], [better], resamples=20, seed=0
    ).items()
    assert (name, others) == ("new_items_recall_at_10", [])
    assert difference.difference == pytest.approx(1 - 2.25 / 4)


def test_ranks_do_not_make_other_examples() -> None:
    assert PREDICTIONS.is_of_same_examples(found([0] * 4, [0] * 4))
    other = RetrievalPredictions(
        PREDICTIONS.user_ids,
        PREDICTIONS.item_ids[::-1],
        PREDICTIONS.among_all,
        PREDICTIONS.among_new,
    )
    assert not PREDICTIONS.is_of_same_examples(other)
