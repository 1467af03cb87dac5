from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import ndcg_score, roc_auc_score

from trainer.metrics import CUTOFFS, RankedLists


def made_up_rows(seed: int, digits: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of lists of 1 to about 30, in mixed order; list 7 has none."""
    random = np.random.default_rng(seed)
    lists = random.geometric(0.1, 500)
    lists[lists == 7] = 8
    labels = (random.random(500) < 0.4).astype(np.float32)
    scores = np.round(random.random(500) + 0.3 * labels, digits).astype(np.float32)
    return lists, labels, scores


@pytest.mark.parametrize("seed", range(3))
def test_the_auc_of_every_list_is_that_of_scikit_learn(seed: int) -> None:
    lists, labels, scores = made_up_rows(seed)
    ranked = RankedLists(lists, labels, scores)
    aucs = ranked.auc()
    assert len(aucs) == len(ranked.sizes) == len(ranked.positives) == lists.max() + 1
    for number, auc in enumerate(aucs):
        own = lists == number
        assert ranked.sizes[number] == own.sum()
        assert ranked.positives[number] == labels[own].sum()
        if len(set(labels[own])) == 2:
            assert auc == pytest.approx(roc_auc_score(labels[own], scores[own]), abs=1e-12)
        else:
            assert np.isnan(auc)
        assert ranked.has_both_classes[number] == (not np.isnan(auc))
    assert np.isnan(aucs).any()


def test_a_hand_computed_auc() -> None:
    # Pairs of a positive and a negative row: 0.9 over 0.5, 0.9 as 0.9, 0.2 under both.
    ranked = RankedLists(
        np.array([1, 1, 1, 1]), np.array([1, 0, 0, 1]), np.array([0.9, 0.5, 0.9, 0.2])
    )
    assert np.isnan(ranked.auc()[0]) and ranked.auc()[1] == 1.5 / 4


@pytest.mark.parametrize("k", CUTOFFS)
def test_ndcg_without_ties_is_that_of_scikit_learn(k: int) -> None:
    lists, labels, scores = made_up_rows(5, digits=6)
    ranked = RankedLists(lists, labels, scores)
    ndcg = ranked.quality()[f"ndcg_at_{k}"]
    for number in np.flatnonzero((ranked.positives > 0) & (ranked.sizes > 1)):
        own = lists == number
        expected = ndcg_score([labels[own]], [scores[own].astype(float)], k=k)
        assert ndcg[number] == pytest.approx(expected, abs=1e-9)


def test_equal_scores_keep_the_order_given() -> None:
    labels = np.array([0, 0, 1, 0, 1])
    quality = RankedLists(np.array([0, 1, 0, 0, 1]), labels, np.full(5, 0.5)).quality()
    assert quality["mrr"].tolist() == [1 / 2, 1 / 2]
    turned = RankedLists(np.array([0, 1, 0, 0, 1])[::-1], labels[::-1], np.full(5, 0.5)).quality()
    assert turned["mrr"].tolist() == [1 / 2, 1]


def test_the_order_of_rows_makes_no_difference_without_ties() -> None:
    lists, labels, _ = made_up_rows(6)
    scores = np.random.default_rng(6).permutation(len(lists)) / len(lists)
    shuffled = np.random.default_rng(1).permutation(len(lists))
    first = RankedLists(lists, labels, scores)
    second = RankedLists(lists[shuffled], labels[shuffled], scores[shuffled])
    np.testing.assert_array_equal(first.auc(), second.auc())
    for name, values in first.quality().items():
        np.testing.assert_array_equal(values, second.quality()[name])


def test_lists_without_rows_and_no_rows_at_all() -> None:
    empty = np.zeros(0, np.int64)
    ranked = RankedLists(empty, empty, empty.astype(float), num_lists=3)
    assert ranked.sizes.tolist() == ranked.positives.tolist() == [0, 0, 0]
    assert np.isnan(ranked.auc()).all()
    assert all(values.tolist() == [0, 0, 0] for values in ranked.quality().values())
    behind = RankedLists(np.array([1]), np.array([1]), np.array([0.5]), num_lists=4)
    assert behind.quality()["hit_rate_at_1"].tolist() == [0, 1, 0, 0]
