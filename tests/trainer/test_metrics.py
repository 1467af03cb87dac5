from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, ndcg_score, roc_auc_score

from configs.command_line import CommandError
from trainer import metrics as metrics_module
from trainer.metrics import (
    CUTOFFS,
    RETRIEVAL_CUTOFFS,
    RankedLists,
    Ranks,
    display_name,
    evaluate_lists,
    evaluate_ranks,
    evaluate_scores,
    flat_metrics,
    grouped_auc,
    rank_positives,
    summary,
)

SCORES = st.sampled_from([0.0, 0.1, 0.5, 1.0]) | st.floats(0, 1, width=32)


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of both classes, scores with ties, and the list of each row, in mixed order."""
    rows = draw(
        st.lists(st.tuples(st.integers(0, 1), SCORES, st.integers(0, 5)), min_size=2, max_size=40)
    )
    rows[:2] = [(0, *rows[0][1:]), (1, *rows[1][1:])]
    labels, scores, lists = map(np.array, zip(*rows, strict=True))
    order = draw(st.permutations(range(len(rows))))
    return labels[order], scores[order].astype(np.float32), lists[order]


def grouped_auc_by_loop(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> float:
    total, samples = 0.0, 0
    for user in set(users):
        own = users == user
        if len(set(labels[own])) == 2:
            total += own.sum() * roc_auc_score(labels[own], scores[own])
            samples += own.sum()
    return total / samples if samples else 0.5


@given(samples(), st.sampled_from([np.float32, np.float64]))
def test_metrics_of_samples_are_those_of_scikit_learn(drawn, dtype) -> None:
    labels, scores, lists = drawn
    scores = scores.astype(dtype)
    users = np.array([f"user{number}" for number in lists], dtype=object)
    metrics = evaluate_scores(labels, scores, users)
    assert metrics["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert metrics["logloss"] == pytest.approx(log_loss(labels, scores.astype(float)), rel=1e-12)
    assert metrics["gauc"] == pytest.approx(grouped_auc_by_loop(labels, scores, users), abs=1e-12)
    assert metrics["n"] == len(labels)


def test_grouped_auc_is_that_of_chance_when_no_user_has_both_classes() -> None:
    assert grouped_auc(np.array([1, 0]), np.array([0.1, 0.9]), np.array(["a", "b"])) == 0.5


def test_metrics_of_hand_computed_samples() -> None:
    metrics = evaluate_scores(
        np.array([1, 0, 1, 0]), np.array([0.8, 0.8, 0.4, 0.2]), np.array(["a", "a", "b", "b"])
    )
    assert metrics == {
        "auc": pytest.approx(2.5 / 4),
        "logloss": pytest.approx(-np.log([0.8, 0.2, 0.4, 0.8]).mean()),
        "gauc": pytest.approx((0.5 + 1.0) / 2),
        "n": 4,
    }


def test_float32_scores_of_zero_and_one_give_a_finite_loss() -> None:
    metrics = evaluate_scores(
        np.array([1, 0, 1]), np.array([0.0, 1.0, 1.0], dtype=np.float32), np.array(["a"] * 3)
    )
    assert np.isfinite(metrics["logloss"])


@pytest.mark.parametrize("labels", [[], [1, 1], [0, 0]])
def test_samples_of_less_than_two_classes_are_refused(labels: list[int]) -> None:
    with pytest.raises(CommandError, match="both classes"):
        evaluate_scores(np.array(labels), np.full(len(labels), 0.5), np.array(["a"] * len(labels)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(CommandError, match="not a finite number"):
        evaluate_scores(np.array([1, 0]), np.array([bad, 0.5]), np.array(["a", "a"]))


def test_measured_numbers_are_told_from_counts_and_named_by_task() -> None:
    task_metrics = {"auc": 0.6, "logloss": 0.4, "n": 7}
    metrics = {"auc": 0.7, "n": 7, "lists": 3, "tasks": {"loved": task_metrics}}
    assert flat_metrics(metrics) == {"auc": 0.7, "loved_auc": 0.6, "loved_logloss": 0.4}


@given(samples())
def test_the_auc_of_every_list_is_that_of_scikit_learn(drawn) -> None:
    labels, scores, lists = drawn
    ranked = RankedLists(lists, labels, scores, num_lists=8)
    aucs = ranked.auc()
    assert len(aucs) == len(ranked.sizes) == len(ranked.positives) == 8
    for number, auc in enumerate(aucs):
        own = lists == number
        assert (ranked.sizes[number], ranked.positives[number]) == (own.sum(), labels[own].sum())
        if len(set(labels[own])) == 2:
            assert auc == pytest.approx(roc_auc_score(labels[own], scores[own]), abs=1e-12)
            positive, negative = scores[own & (labels == 1)], scores[own & (labels == 0)]
            positive = positive[:, np.newaxis]
            doubled = 2 * (positive > negative).sum() + (positive == negative).sum()
            assert auc == int(doubled) / (2 * positive.size * negative.size)
        else:
            assert np.isnan(auc)
        assert ranked.has_both_classes[number] == (not np.isnan(auc))


def test_equal_scores_of_mixed_lists_keep_the_order_given() -> None:
    labels = np.array([0, 0, 1, 0, 1])
    quality = RankedLists(np.array([0, 1, 0, 0, 1]), labels, np.full(5, 0.5)).quality()
    assert quality["mrr"].tolist() == [1 / 2, 1 / 2]
    turned = RankedLists(np.array([0, 1, 0, 0, 1])[::-1], labels[::-1], np.full(5, 0.5)).quality()
    assert turned["mrr"].tolist() == [1 / 2, 1]


def test_lists_without_rows_and_no_rows_at_all() -> None:
    empty = np.zeros(0, np.int64)
    ranked = RankedLists(empty, empty, empty.astype(float), num_lists=3)
    assert ranked.sizes.tolist() == ranked.positives.tolist() == [0, 0, 0]
    assert np.isnan(ranked.auc()).all()
    assert all(values.tolist() == [0, 0, 0] for values in ranked.quality().values())
    behind = RankedLists(np.array([1]), np.array([1]), np.array([0.5]), num_lists=4)
    assert behind.quality()["hit_rate_at_1"].tolist() == [0, 1, 0, 0]


Lists = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The list of every candidate, its label and its score."""


def synthetic_lists(seed: int, num_lists: int = 60, length: int = 12, digits: int = 6) -> Lists:
    """Lists of 1 to `length` candidates; few digits make ties."""
    random = np.random.default_rng(seed)
    lists = np.repeat(np.arange(num_lists), random.integers(1, length + 1, size=num_lists))
    labels = (random.random(len(lists)) < 0.3).astype(np.float32)
    scores = np.round(random.random(len(lists)) * 0.7 + 0.3 * labels, digits)
    return lists, labels, scores.astype(np.float32)


def ranked_labels(lists: Lists, number: int) -> list[float]:
    """Labels of one list's candidates, best score first, equal scores in the order of the list."""
    list_of_row, labels, scores = lists
    places = sorted(np.flatnonzero(list_of_row == number), key=lambda place: -scores[place])
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


@given(samples())
def test_every_list_has_the_quality_that_a_loop_finds(drawn) -> None:
    labels, scores, lists = drawn
    ranked_lists = RankedLists(lists, labels, scores, num_lists=7)
    quality = ranked_lists.quality()
    names = ("ndcg", "map", "map_hits", "hit_rate")
    assert set(quality) == {"mrr", *(f"{name}_at_{k}" for name in names for k in (1, 3, 5, 7, 10))}
    for number in range(7):
        ranked = ranked_labels((lists, labels, scores), number)
        assert ranked_lists.judged[number] == any(ranked)
        first = 1 + ranked.index(1) if any(ranked) else math.inf
        assert quality["mrr"][number] == pytest.approx(1 / first, abs=1e-12)
        own = lists == number
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
                assert quality[f"{name}_at_{k}"][number] == pytest.approx(value, abs=1e-12)
            if any(ranked) and 1 < len(ranked) == len(set(scores[own])):
                theirs = ndcg_score([labels[own]], [scores[own].astype(float)], k=k)
                assert quality[f"ndcg_at_{k}"][number] == pytest.approx(theirs, abs=1e-9)


def test_quality_of_a_hand_computed_list() -> None:
    labels, scores = np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.9, 0.8, 0.1, 0.5])
    quality = RankedLists(np.zeros(4, int), labels, scores).quality()
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
    labels = np.array([1.0, 0.0, 0.0, 0.0])[order]
    quality = RankedLists(np.zeros(4, int), labels, np.full(4, 0.5)).quality()
    assert quality["ndcg_at_5"][0] == pytest.approx(1 / math.log2(order.index(0) + 2))


def test_metrics_of_candidates_and_means_over_lists_with_a_positive() -> None:
    lists = synthetic_lists(6)
    list_of_row, labels, scores = lists
    users = np.array([f"u{number % 7}" for number in list_of_row], dtype=object)
    metrics = evaluate_lists(*lists, users, num_lists=62)
    assert metrics["auc"] == pytest.approx(roc_auc_score(labels, scores))
    assert metrics["logloss"] == pytest.approx(log_loss(labels, scores.astype(float)))
    assert metrics["gauc"] == pytest.approx(grouped_auc_by_loop(labels, scores, users))
    ranked = [ranked_labels(lists, number) for number in range(60)]
    judged = [labels for labels in ranked if any(labels)]
    assert metrics["n"] == len(labels) and metrics["lists"] == 62
    assert metrics["lists_without_positive"] == 62 - len(judged) > 2
    ndcg = [ndcg_by_hand(labels, 10) for labels in judged]
    assert metrics["ndcg_at_10"] == pytest.approx(np.mean(ndcg))


def test_candidates_of_one_class_are_refused() -> None:
    with pytest.raises(CommandError, match="both classes"):
        evaluate_lists(np.repeat([0, 1], 3), *np.ones([2, 6]), np.array(["a"] * 6), num_lists=2)


USERS, ITEMS, WIDTH = 40, 130, 4


def synthetic_case(seed: int, integers: bool) -> dict[str, np.ndarray]:
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
    collected = []
    for user in range(USERS):
        positive = int(case["positive_rows"][user])
        scores = {
            row: float(np.dot(case["user_vectors"][user], case["item_vectors"][row - 1]))
            for row in range(1, ITEMS + 1)
        }
        left_out = set(case["history_rows"][user].tolist()) if leave_out else set()
        others = [row for row in scores if row != positive and row not in left_out]
        collected.append(
            (
                sum(scores[row] > scores[positive] for row in others),
                sum(scores[row] == scores[positive] for row in others),
            )
        )
    return collected


@pytest.mark.parametrize("memory", [2**24, 3 * ITEMS])
@pytest.mark.parametrize(("seed", "integers"), [(1, True), (2, True), (3, False)])
def test_ranks_are_those_of_a_loop_over_all_items(
    seed: int, integers: bool, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_module, "_SCORES_IN_MEMORY", memory)
    case = synthetic_case(seed, integers)
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
    assert [metrics[f"recall_at_{k}"] for k in RETRIEVAL_CUTOFFS] == pytest.approx(
        [1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3]
    )
    assert [metrics[f"new_items_recall_at_{k}"] for k in RETRIEVAL_CUTOFFS] == pytest.approx(
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
        for name in [
            "mrr",
            *(f"{kind}_at_{k}" for kind in ("recall", "ndcg") for k in RETRIEVAL_CUTOFFS),
        ]
    }


def test_a_model_that_tells_no_items_apart_gets_the_metrics_of_chance() -> None:
    case = synthetic_case(4, integers=True)
    case["user_vectors"] = np.zeros_like(case["user_vectors"])
    metrics = evaluate_ranks(*rank_positives(**case))
    assert metrics["recall_at_10"] == pytest.approx(10 / ITEMS)
    assert metrics["mrr"] == pytest.approx(np.mean([1 / place for place in range(1, ITEMS + 1)]))


def test_the_metrics_that_count_are_shown_with_their_names() -> None:
    metrics = {"auc": 0.81234, "map_at_1": 0.3, "ndcg_at_10": 0.7, "n": 10}
    assert summary(metrics) == "AUC 0.8123, NDCG@10 0.7000"
    assert summary({"mrr": 0.2, "recall_at_10": 0.5}) == "recall@10 0.5000, MRR 0.2000"


def test_tasks_are_named() -> None:
    assert summary({"auc": 0.8, "tasks": {"loved": {"auc": 0.7}}}) == (
        "AUC 0.8000, loved (AUC 0.7000)"
    )


def test_a_metric_without_another_name_keeps_its_own() -> None:
    assert display_name("auc") == "AUC" and display_name("map_hits_at_3") == "map_hits_at_3"


def test_what_people_look_at_later_is_named_but_not_in_the_summary() -> None:
    assert display_name("calibration_ratio") == "calibration ratio"
    assert summary({"auc": 0.8, "calibration_ratio": 1.0, "gauc_mean": 0.6}) == "AUC 0.8000"
