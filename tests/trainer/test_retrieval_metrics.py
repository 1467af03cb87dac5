from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from trainer import metrics as retrieval_metrics
from trainer.metrics import RETRIEVAL_CUTOFFS as CUTOFFS
from trainer.metrics import Ranks, evaluate_ranks, rank_positives

USERS, ITEMS, WIDTH = 40, 130, 4


def made_up_case(seed: int, integers: bool) -> dict[str, np.ndarray]:
    """Vectors (small integers make ties), positives, and histories with repeats and padding."""
    random = np.random.default_rng(seed)
    draw = (lambda size: random.integers(-1, 2, size)) if integers else random.normal
    users = draw(size=(USERS, WIDTH)).astype(np.float32)
    items = draw(size=(ITEMS, WIDTH)).astype(np.float32)
    history = random.integers(0, ITEMS + 1, size=(USERS, 30)).astype(np.int32)
    history[:, 7] = history[:, 8]
    history[0] = 0
    positives = random.integers(1, ITEMS + 1, size=USERS).astype(np.int32)
    history[1, 3] = positives[1]
    return {
        "user_vectors": users,
        "item_vectors": items,
        "positive_rows": positives,
        "history_rows": history,
    }


def ranks_by_loop(case: dict[str, np.ndarray], leave_out: bool) -> list[tuple[int, int]]:
    """(better, tied) of every user, item by item."""
    found = []
    for user in range(USERS):
        positive = int(case["positive_rows"][user])
        scores = {
            row: float(np.dot(case["user_vectors"][user], case["item_vectors"][row - 1]))
            for row in range(1, ITEMS + 1)
        }
        left_out = set(case["history_rows"][user].tolist()) if leave_out else set()
        others = [row for row in scores if row != positive and row not in left_out]
        found.append(
            (
                sum(scores[row] > scores[positive] for row in others),
                sum(scores[row] == scores[positive] for row in others),
            )
        )
    return found


@pytest.mark.parametrize("memory", [2**24, 3 * ITEMS])
@pytest.mark.parametrize(("seed", "integers"), [(1, True), (2, True), (3, False)])
def test_ranks_are_those_of_a_loop_over_all_items(
    seed: int, integers: bool, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval_metrics, "_SCORES_IN_MEMORY", memory)
    case = made_up_case(seed, integers)
    for ranks, leave_out in zip(rank_positives(**case), (False, True), strict=True):
        expected = ranks_by_loop(case, leave_out)
        assert list(zip(ranks.better, ranks.tied, strict=True)) == expected
    among_all, among_new = rank_positives(**case)
    assert bool(among_all.tied.max() > 3) is integers
    assert (among_new.better < among_all.better).any() and among_new.better[0] == among_all.better[
        0
    ]


def test_expected_values_are_means_over_all_orders_of_the_tied_items() -> None:
    better, tied = 2, 3
    places = [
        better + 1 + order.index("positive")
        for order in itertools.permutations(["positive", *range(tied)])
    ]
    ranks = Ranks(np.array([better]), np.array([tied]))
    assert ranks.expected[0] == pytest.approx(np.mean(places))
    assert ranks.reciprocal()[0] == pytest.approx(np.mean([1 / place for place in places]))
    for k in range(1, 9):
        assert ranks.hits(k)[0] == pytest.approx(np.mean([place <= k for place in places]))
        ndcg = [1 / math.log2(1 + place) if place <= k else 0.0 for place in places]
        assert ranks.ndcg(k)[0] == pytest.approx(np.mean(ndcg))


def test_metrics_of_hand_computed_ranks() -> None:
    among_all = Ranks(np.array([0, 6, 200]), np.zeros(3, int))
    among_new = Ranks(np.array([0, 3, 60]), np.zeros(3, int))
    metrics = evaluate_ranks(among_all, among_new)
    assert [metrics[f"recall_at_{k}"] for k in CUTOFFS] == pytest.approx(
        [1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3]
    )
    assert [metrics[f"new_items_recall_at_{k}"] for k in CUTOFFS] == pytest.approx(
        [1 / 3, 2 / 3, 2 / 3, 2 / 3, 1]
    )
    assert metrics["ndcg_at_1"] == pytest.approx(1 / 3)
    assert metrics["ndcg_at_10"] == pytest.approx((1 + 1 / 3) / 3)
    assert metrics["mrr"] == pytest.approx((1 + 1 / 7 + 1 / 201) / 3)
    assert metrics["new_items_mrr"] == pytest.approx((1 + 1 / 4 + 1 / 61) / 3)
    assert metrics["n"] == 3
    assert set(metrics) == {"n"} | {
        f"{prefix}{name}"
        for prefix in ("", "new_items_")
        for name in ["mrr", *(f"{kind}_at_{k}" for kind in ("recall", "ndcg") for k in CUTOFFS)]
    }


def test_a_model_that_tells_no_items_apart_gets_the_metrics_of_chance() -> None:
    case = made_up_case(4, integers=True)
    case["user_vectors"] = np.zeros_like(case["user_vectors"])
    metrics = evaluate_ranks(*rank_positives(**case))
    assert metrics["recall_at_10"] == pytest.approx(10 / ITEMS)
    assert metrics["mrr"] == pytest.approx(np.mean([1 / place for place in range(1, ITEMS + 1)]))
