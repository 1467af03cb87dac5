from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.evaluation.made_up_scores import (
    auc_by_pairs,
    made_up_lists,
    made_up_samples,
    quality_by_hand,
)
from trainer.evaluation.metric_sums import ListSums, shuffled_order

GROUPS = 3


def test_users_in_groups_have_the_means_of_loops_however_they_are_batched() -> None:
    samples = made_up_samples(5, rows=1500, digits=1)
    users = np.unique(samples.user_id, return_inverse=True)[1]
    groups = samples.position.to_numpy() % GROUPS
    labels, scores = samples.label.to_numpy(), samples.score.to_numpy()
    sums = ListSums(GROUPS)
    for some in (users < 30, (users >= 30) & (users < 31), users >= 31):
        sums.add(groups[some], users[some], labels[some], scores[some])
    for group in range(GROUPS):
        lists = [rows for _, rows in samples[groups == group].groupby("user_id")]
        mixed = [rows for rows in lists if rows.label.nunique() == 2]
        aucs = [auc_by_pairs(rows.label.to_numpy(), rows.score.to_numpy()) for rows in mixed]
        sizes = [len(rows) for rows in mixed]
        assert sums.gauc()[group] == pytest.approx(np.average(aucs, weights=sizes), abs=1e-12)
        assert sums.gauc_mean()[group] == pytest.approx(np.mean(aucs), abs=1e-12)
        assert (sums.users[group], sums.judged_users[group]) == (len(lists), len(mixed))
        ranked = [rows.sort_values("score", ascending=False, kind="stable") for rows in lists]
        judged = [rows.label.tolist() for rows in ranked if rows.label.any()]
        assert (sums.lists[group], sums.judged_lists[group]) == (len(lists), len(judged))
        expected = [quality_by_hand(labels) for labels in judged]
        for name, means in sums.quality().items():
            mean = np.mean([values[name] for values in expected])
            assert means[group] == pytest.approx(mean, abs=1e-12)


def test_lists_of_users_are_ranked_apart() -> None:
    samples = made_up_lists(6, lists=80)
    users = np.unique(samples.user_id, return_inverse=True)[1]
    sums = ListSums(1)
    columns = (samples[name].to_numpy() for name in ("label", "score", "list_id"))
    sums.add(np.zeros(len(users), int), users, *columns)
    assert sums.lists.tolist() == [80] and sums.users[0] == samples.user_id.nunique() < 80
    ranked = samples.sort_values("score", ascending=False, kind="stable").groupby("list_id")
    first = [rows.label.iloc[0] for _, rows in ranked if rows.label.any()]
    assert sums.judged_lists[0] == len(first)
    assert sums.quality()["ndcg_at_1"][0] == pytest.approx(np.mean(first))


def test_groups_without_a_value_have_none() -> None:
    sums = ListSums(2)
    sums.add(np.zeros(2, int), np.array([0, 0]), np.array([0, 0]), np.array([0.5, 0.4]))
    assert np.isnan(sums.gauc()).all() and np.isnan(sums.gauc_mean()).all()
    assert all(np.isnan(means).all() for means in sums.quality().values())
    assert sums.users.tolist() == sums.lists.tolist() == [1, 0]


def test_the_fixed_order_is_of_no_use_to_a_model_that_knows_nothing() -> None:
    rows = np.arange(40_000)
    order = shuffled_order(rows)
    assert order.dtype == np.uint64 and len(set(order.tolist())) == len(rows)
    np.testing.assert_array_equal(shuffled_order(rows[::-1]), order[::-1])
    # Users of one positive sample and, behind it in the file, three sampled negatives.
    places = order.reshape(-1, 4).argsort(axis=1).argsort(axis=1)
    assert (1 / (1 + places[:, 0])).mean() == pytest.approx(
        (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4, abs=0.01
    )


def test_the_fixed_order_is_that_of_splitmix64() -> None:
    # The first outputs of the generator with state 0, which adds its constant before mixing.
    assert int(shuffled_order(np.array([0]))[0]) == 0xE220A8397B1DCDAF
