from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from configs.experiment import Evaluation
from tests.trainer.evaluation.synthetic_scores import (
    auc_by_pairs,
    synthetic_lists,
    synthetic_samples,
)
from trainer.evaluation import score_table
from trainer.evaluation.part_metrics import part_metrics
from trainer.evaluation.score_table import ScoreTable
from trainer.evaluation.slices import NumberSlice
from trainer.metric_sums import (
    ExactSums,
    GroupMeans,
    PairCounts,
    ScoreSums,
    TieGroups,
    exact_mean,
    log_losses,
)
from trainer.metrics import Ranks, evaluate_scores
from trainer.predictions import ListPredictions, Predictions, RetrievalPredictions

OPTIONS = Evaluation(bootstrap_resamples=10)


def evaluated(table: pa.Table, kind: str) -> dict[str, dict]:
    """What `evaluate` says of a part and of its halves by the column "half", in several batches."""
    with ScoreTable(table) as scores:
        actual = part_metrics(scores, kind, OPTIONS, [NumberSlice("half", "01", "half", [1])])
    return {"": actual.metrics, **actual.slices["half"]}


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_table, "_BATCH", 700)


@pytest.mark.parametrize("digits", [1, 2, 3, None])
@pytest.mark.parametrize("seed", range(4))
def test_training_and_evaluate_agree_to_the_last_bit(
    seed: int, digits: int | None, small_batches: None
) -> None:
    samples = synthetic_samples(seed, rows=3000, digits=digits)
    samples["half"] = np.arange(len(samples)) % 2
    for group, actual in evaluated(pa.Table.from_pandas(samples), "ctr").items():
        own = samples[samples.half == int(group)] if group else samples
        labels, scores = own.label.to_numpy(), own.score.to_numpy()
        metrics = evaluate_scores(labels, scores, own.user_id.to_numpy())
        assert {name: actual[name] for name in metrics} == metrics
        assert metrics["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        expected_loss = log_loss(labels, scores.astype(np.float64))
        assert metrics["logloss"] == pytest.approx(expected_loss, abs=1e-12)
        by_user = [rows for _, rows in own.groupby("user_id") if rows.label.nunique() == 2]
        aucs = [auc_by_pairs(rows.label.to_numpy(), rows.score.to_numpy()) for rows in by_user]
        expected_gauc = np.average(aucs, weights=[len(rows) for rows in by_user])
        assert metrics["gauc"] == pytest.approx(expected_gauc, abs=1e-12)


def lists_of(samples: pd.DataFrame) -> ListPredictions:
    """Predictions from rows of candidates, which stand list by list."""
    groups = [rows for _, rows in samples.groupby("list_id")]
    shape = len(groups), max(map(len, groups))
    item_ids, labels, scores = np.full(shape, "", object), np.zeros(shape), np.zeros(shape, "f4")
    for number, rows in enumerate(groups):
        for column, values in ((item_ids, "item_id"), (labels, "label"), (scores, "score")):
            column[number, : len(rows)] = rows[values]
    users = np.array([rows.user_id.iloc[0] for rows in groups], object)
    return ListPredictions(users, item_ids, labels, scores)


def ranks_of_users(seed: int) -> RetrievalPredictions:
    random = np.random.default_rng(seed)
    better, tied = random.integers(0, 130, 2000), random.integers(0, 3, 2000)
    users = np.array([f"u{number}" for number in random.integers(0, 90, 2000)])
    items = np.array([f"i{number}" for number in random.integers(0, 9, 2000)])
    return RetrievalPredictions(users, items, Ranks(better, tied), Ranks(better // 2, tied // 2))


@pytest.mark.parametrize("kind", ["rerank", "retrieval"])
@pytest.mark.parametrize("seed", range(3))
def test_so_do_the_other_kinds_in_all_their_metrics(
    kind: str, seed: int, small_batches: None
) -> None:
    predictions: Predictions = (
        lists_of(synthetic_lists(seed)) if kind == "rerank" else ranks_of_users(seed)
    )
    table = predictions.table()
    rows = np.arange(table.num_rows)
    actual = evaluated(table.append_column("half", pa.array(rows % 2)), kind)
    metrics = predictions.metrics()
    assert len(metrics) > 20
    assert {name: actual[""][name] for name in metrics} == metrics


LOSSES = st.floats(0, 36.05) | st.sampled_from([0.0, 2.0**-52, 1.0])


@given(
    st.lists(st.tuples(st.integers(0, 2), LOSSES, st.integers(0, 9)), min_size=1, max_size=60),
    st.randoms(),
)
def test_means_are_those_of_fractions_in_any_order_and_batches(rows, random) -> None:
    def added(rows: list, cut: int) -> GroupMeans:
        means = GroupMeans(3)
        for part in (rows[:cut], rows[cut:]):
            columns = [np.array([row[number] for row in part]) for number in range(3)]
            groups, counts = columns[0].astype(int), columns[2].astype(int)
            means.add(groups, {"loss": columns[1].astype(float)}, counts)
        return means

    means = added(rows, len(rows) // 3)
    random.shuffle(rows)
    others = added(rows, random.randint(0, len(rows)))
    for group in range(3):
        own = [(Fraction(value), count) for number, value, count in rows if number == group]
        total = sum(count for _, count in own)
        assert means.weights[group] == total
        assert means.means(group) == others.means(group)
        if total:
            expected = sum(value * count for value, count in own) / total
            assert abs(Fraction(means.means(group)["loss"]) - expected) <= Fraction(
                math.ulp(float(expected)) / 2 + 2.0**-56
            )
        else:
            assert means.means(group) == {"loss": None}


def test_a_mean_of_multiples_of_the_unit_is_rounded_once() -> None:
    random = np.random.default_rng(1)
    values = random.integers(0, 2**53, 1000) / 2.0**55
    weights = random.integers(1, 1000, 1000)
    total = sum(int(w) * Fraction(float(v)) for v, w in zip(values, weights, strict=True))
    assert exact_mean(values, weights) == float(total / int(weights.sum()))
    assert exact_mean(values) == float(sum(map(Fraction, values.tolist())) / 1000)


def test_four_billion_of_the_largest_losses_have_room() -> None:
    worst = log_losses(np.ones(1), np.zeros(1))
    sums = ExactSums(1)
    for _ in range(4):
        sums.add(np.zeros(1, np.int64), worst, np.array([2**30]))
    assert sums.mean(0, 2**32) == worst[0] == 52 * math.log(2)


GROUPS = 4


def synthetic_ascending(seed: int, digits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups, labels and ascending scores; group 3 has one class only."""
    random = np.random.default_rng(seed)
    groups = random.integers(0, GROUPS, 800)
    labels = (random.random(800) < 0.4).astype(np.float32)
    labels[groups == 3] = 1
    scores = np.sort(np.round(0.1 + 0.7 * random.random(800), digits)).astype(np.float32)
    return groups, labels, scores


def score_sums(
    groups: np.ndarray, labels: np.ndarray, scores: np.ndarray, cuts: list[int]
) -> tuple[ScoreSums, list[TieGroups]]:
    sums = ScoreSums(GROUPS)
    complete = [
        sums.add(*part)
        for part in zip(
            *(np.split(values, cuts) for values in (groups, labels, scores)), strict=True
        )
    ]
    return sums, [*complete, sums.finish()]


@pytest.mark.parametrize("digits", [1, 2, 7])
@pytest.mark.parametrize("cuts", [[], [400], [1, 2, 3, 17, 18, 500], [0, 800]])
def test_groups_have_the_metrics_of_scikit_learn_however_batches_are_cut(
    digits: int, cuts: list[int]
) -> None:
    groups, labels, scores = synthetic_ascending(1, digits)
    sums, _ = score_sums(groups, labels, scores, cuts)
    aucs = sums.pairs.auc()
    for group in range(GROUPS):
        own = groups == group
        expected = scores[own].astype(float)
        if group == 3:
            assert np.isnan(aucs[group])
        else:
            assert aucs[group] == pytest.approx(roc_auc_score(labels[own], expected), abs=1e-12)
            assert sums.logloss(group) == pytest.approx(log_loss(labels[own], expected), abs=1e-12)
        assert sums.pairs.samples[group] == own.sum()
        assert sums.pairs.positives[group] == labels[own].sum()
        assert sums.mean_score(group) == pytest.approx(expected.mean(), abs=1e-12)


def test_groups_of_equal_scores_are_complete_and_come_once() -> None:
    groups, labels, scores = synthetic_ascending(2, digits=1)
    _, complete = score_sums(groups, labels, scores, [100, 101, 650])
    actual = {
        (group, score): (positives, negatives)
        for ties in complete
        for group, score, positives, negatives in zip(
            ties.groups, ties.scores, ties.positives, ties.negatives, strict=True
        )
    }
    assert len(actual) == sum(len(ties.groups) for ties in complete)
    for (group, score), (positives, negatives) in actual.items():
        own = (groups == group) & (scores == score)
        assert (positives, negatives) == (labels[own].sum(), (1 - labels[own]).sum())
    assert sum(map(sum, actual.values())) == len(labels)


def test_one_score_for_all_is_chance_and_costs_no_memory() -> None:
    sums = ScoreSums(1)
    for _ in range(50):
        ties = sums.add(np.zeros(100, int), np.arange(100) % 3 == 0, np.full(100, 0.5))
        assert len(ties.groups) == 0
    assert len(sums.finish().groups) == 1
    assert sums.pairs.auc().tolist() == [0.5]


def test_pairs_are_counted_exactly_beyond_the_precision_of_floats() -> None:
    # Positives over all negatives but one, which is over all.
    positives, negatives = 2**29 + 1, 2**29 + 4
    pairs = PairCounts(2)
    for score, p, n in ((0.1, 0, negatives - 1), (0.5, positives, 0), (0.9, 0, 1)):
        counts = np.array([p, 1]), np.array([n, 1])
        pairs.add(TieGroups(np.array([0, 1]), np.array([score, score]), *counts))
    doubled = 2 * positives * (negatives - 1)
    assert int(float(doubled)) != doubled
    assert pairs.auc().tolist() == [doubled / (2 * positives * negatives), 0.5]


def test_groups_without_samples_have_no_value() -> None:
    sums = ScoreSums(2)
    sums.add(np.zeros(0, int), np.zeros(0), np.zeros(0))
    assert len(sums.finish().groups) == 0
    assert np.isnan(sums.pairs.auc()).all() and sums.pairs.samples.tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_are_those_of_scikit_learn_at_the_ends_too(dtype: type) -> None:
    tiny = np.finfo(np.float64).eps / 4
    scores = np.array([0.0, 1.0, tiny, 1e-30, 1 - 1e-7, 0.3, 0.0, 1.0], dtype)
    labels = np.array([1, 0, 1, 1, 0, 1, 0, 1])
    losses = log_losses(labels, scores)
    for number in range(len(labels)):
        one = slice(number, number + 1)
        expected = log_loss(labels[one], scores[one].astype(np.float64), labels=[0, 1])
        assert losses[number] == pytest.approx(expected, rel=1e-12, abs=1e-300)
    assert losses.mean() == pytest.approx(log_loss(labels, scores.astype(np.float64)), rel=1e-12)
