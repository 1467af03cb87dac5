from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss, ndcg_score, roc_auc_score

from configs.command_line import CommandError
from trainer.metrics import CUTOFFS, evaluate_lists, grouped_auc, has_positive, list_quality


def made_up_lists(
    seed: int, lists: int = 60, length: int = 12, ties: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and mask of lists of 1 to `length` candidates; padding has wild values."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, length + 1, size=lists)
    mask = np.arange(length) < sizes[:, np.newaxis]
    labels = (random.random([lists, length]) < 0.3).astype(np.float32)
    scores = random.random([lists, length]) * 0.7 + 0.3 * labels
    if ties:
        scores = np.round(scores, 1)
    scores[~mask] = 1e9
    labels[~mask] = 1
    return labels, scores.astype(np.float32), mask


def ranked_labels(labels: np.ndarray, scores: np.ndarray, mask: np.ndarray) -> list[float]:
    """Labels of one list's candidates, best score first, equal scores in the order of the list."""
    places = sorted(np.flatnonzero(mask), key=lambda place: -scores[place])
    return [float(labels[place]) for place in places]


def ndcg_by_hand(ranked: list[float], k: int) -> float:
    def gained(order: list[float]) -> float:
        return sum((2**y - 1) / math.log2(place + 1) for place, y in enumerate(order[:k], start=1))

    best = gained(sorted(ranked, reverse=True))
    return gained(ranked) / best if best else 0.0


def precision_sum_by_hand(ranked: list[float], k: int) -> float:
    hits, total = 0, 0.0
    for place, label in enumerate(ranked[:k], start=1):
        if label:
            hits += 1
            total += hits / place
    return total


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_every_list_has_the_quality_that_a_loop_finds(seed: int, ties: bool) -> None:
    labels, scores, mask = made_up_lists(seed, ties=ties)
    quality = list_quality(labels, scores, mask)
    names = ("ndcg", "map", "map_hits", "hit_rate")
    assert set(quality) == {"mrr", *(f"{name}_at_{k}" for name in names for k in (1, 3, 5, 7, 10))}
    for row in range(len(labels)):
        ranked = ranked_labels(labels[row], scores[row], mask[row])
        first = 1 + ranked.index(1) if any(ranked) else math.inf
        assert quality["mrr"][row] == pytest.approx(1 / first, abs=1e-12)
        for k in CUTOFFS:
            total = precision_sum_by_hand(ranked, k)
            hits = sum(ranked[:k])
            expected = {
                "ndcg": ndcg_by_hand(ranked, k),
                "map": total / min(k, sum(ranked)) if any(ranked) else 0.0,
                "map_hits": total / hits if hits else 0.0,
                "hit_rate": float(first <= k),
            }
            for name, value in expected.items():
                assert quality[f"{name}_at_{k}"][row] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("k", CUTOFFS)
def test_ndcg_agrees_with_sklearn(k: int) -> None:
    labels, scores, _ = made_up_lists(4)
    mask = np.ones_like(labels, dtype=bool)
    scores = np.where(scores > 1, 0.5 + np.arange(12) / 100, scores).astype(np.float64)
    labels[0] = [0, 1, *[0] * 10]
    quality = list_quality(labels, scores, mask)[f"ndcg_at_{k}"]
    for row in np.flatnonzero(has_positive(labels, mask)):
        # With binary labels the gain 2^y - 1 is the label, which is what scikit-learn sums.
        expected = ndcg_score(labels[row : row + 1], scores[row : row + 1], k=k)
        assert quality[row] == pytest.approx(expected, abs=1e-9)


def test_a_hand_computed_list() -> None:
    labels = np.array([[0.0, 1.0, 1.0, 0.0]])
    scores = np.array([[0.9, 0.8, 0.1, 0.5]])
    quality = list_quality(labels, scores, np.ones([1, 4], bool))
    # Order: 0, 1, 0, 1: hits at places 2 and 4.
    assert quality["ndcg_at_3"][0] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))
    assert quality["map_at_3"][0] == pytest.approx(0.5 / 2)
    assert quality["map_hits_at_3"][0] == pytest.approx(0.5)
    assert quality["map_at_10"][0] == quality["map_hits_at_10"][0] == pytest.approx((0.5 + 0.5) / 2)
    assert quality["ndcg_at_1"][0] == quality["map_at_1"][0] == quality["map_hits_at_1"][0] == 0
    assert quality["mrr"][0] == 1 / 2
    assert quality["hit_rate_at_1"][0] == 0 and quality["hit_rate_at_3"][0] == 1


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]])
def test_equal_scores_keep_the_order_of_the_list(order: list[int]) -> None:
    labels = np.array([[1.0, 0.0, 0.0, 0.0]])[:, order]
    ndcg = list_quality(labels, np.full([1, 4], 0.5), np.ones([1, 4], bool))["ndcg_at_5"][0]
    assert ndcg == pytest.approx(1 / math.log2(order.index(0) + 2))


def test_padding_changes_nothing() -> None:
    labels, scores, mask = made_up_lists(5)
    wide = [np.pad(values, [(0, 0), (0, 4)], constant_values=1) for values in (labels, scores)]
    wider_mask = np.pad(mask, [(0, 0), (0, 4)])
    users = np.arange(len(labels)).astype(str)
    assert evaluate_lists(*wide, wider_mask, users) == evaluate_lists(labels, scores, mask, users)


def test_metrics_of_candidates_and_means_over_lists_with_a_positive() -> None:
    labels, scores, mask = made_up_lists(6)
    users = np.array([f"u{row % 7}" for row in range(len(labels))], dtype=object)
    metrics = evaluate_lists(labels, scores, mask, users)
    of_candidates = (labels[mask], scores[mask].astype(float))
    owners = np.broadcast_to(users[:, np.newaxis], mask.shape)[mask]
    assert metrics["auc"] == pytest.approx(roc_auc_score(*of_candidates))
    assert metrics["logloss"] == pytest.approx(log_loss(*of_candidates))
    assert metrics["gauc"] == pytest.approx(grouped_auc(labels[mask], scores[mask], owners))
    assert metrics["n"] == mask.sum() and metrics["lists"] == len(labels)
    without = [row for row in range(len(labels)) if not labels[row][mask[row]].any()]
    assert metrics["lists_without_positive"] == len(without) > 0
    ndcg = [
        ndcg_by_hand(ranked_labels(labels[row], scores[row], mask[row]), 10)
        for row in range(len(labels))
        if row not in without
    ]
    assert metrics["ndcg_at_10"] == pytest.approx(np.mean(ndcg))


def test_candidates_of_one_class_are_refused() -> None:
    with pytest.raises(CommandError, match="both classes"):
        evaluate_lists(np.ones([2, 3]), np.ones([2, 3]), np.ones([2, 3], bool), np.array(["a"] * 2))
