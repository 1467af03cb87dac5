from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from configs.command_line import CommandError
from tests.trainer.test_predictions import lists, retrieved, samples
from trainer.comparison import (
    DELONG,
    Compared,
    adjusted_p_values,
    compare_models,
    compare_slices,
    result_of,
    sentences,
)
from trainer.predictions import compare_predictions
from trainer.significance import DeLongTest, Difference, delong_test, holm

ALL_KINDS = [samples, lists, retrieved]


def sides(synthetic):
    return [synthetic(1)], [synthetic(2), synthetic(3)]


@pytest.mark.parametrize("synthetic", ALL_KINDS)
def test_the_whole_part_is_compared_by_bootstrap_and_delong(synthetic) -> None:
    baseline, candidate = sides(synthetic)
    actual = compare_models(baseline, candidate, resamples=40, seed=1)
    assert actual.differences == compare_predictions(baseline, candidate, 40, 1)
    assert (actual.n, actual.reason) == (baseline[0].count, None)
    assert actual.users == len(set(baseline[0].user_ids))
    if synthetic is retrieved:
        assert actual.delong is None
        return
    columns = [[run.table() for run in side] for side in (baseline, candidate)]
    scores = [np.stack([table["score"].to_numpy() for table in side]) for side in columns]
    assert actual.delong == delong_test(columns[0][0]["label"].to_numpy(), *scores)
    assert actual.delong.difference == pytest.approx(actual.differences["auc"].difference)


@pytest.mark.parametrize("synthetic", ALL_KINDS)
def test_a_group_is_compared_like_a_part_of_its_own(synthetic) -> None:
    baseline, candidate = sides(synthetic)
    rows = baseline[0].table().num_rows
    divisions = {"third": {str(n): np.arange(rows) % 3 == n for n in range(3)}}
    actual = compare_slices(baseline, candidate, divisions, resamples=40, seed=1)
    assert list(actual) == ["third"] and list(actual["third"]) == ["0", "1", "2"]
    for group, compared in actual["third"].items():
        chosen = divisions["third"][group]
        parts = [[run.of_rows(chosen) for run in side] for side in (baseline, candidate)]
        assert compared == compare_models(*parts, resamples=40, seed=1)
        assert compared.n == chosen.sum()


def test_a_group_that_cannot_be_compared_says_why() -> None:
    baseline, candidate = sides(samples)
    labels = baseline[0].labels
    users = baseline[0].user_ids
    # The first user has label 1 only, by construction.
    mixed_user = users[np.flatnonzero(labels == 0)[0]]
    divisions = {
        "odd": {
            "none": np.zeros(80, bool),
            "positive": labels == 1,
            "negative": labels == 0,
            "one user": users == mixed_user,
        }
    }
    actual = compare_slices(baseline, candidate, divisions, resamples=20, seed=0)["odd"]
    assert {group: compared.reason for group, compared in actual.items()} == {
        "none": "no samples",
        "positive": "all samples have label 1",
        "negative": "all samples have label 0",
        "one user": "fewer than 10 users, too few to resample",
    }
    for compared in actual.values():
        assert compared.differences == {} and compared.delong is None
    assert actual["negative"].n == (labels == 0).sum() and actual["one user"].users == 1


def test_a_part_of_a_handful_of_users_is_not_compared() -> None:
    users = samples().user_ids
    chosen = np.isin(users, np.unique(users)[:9])
    few = [run.of_rows(chosen) for run in (samples(1), samples(2))]
    actual = compare_models(few[:1], few[1:], resamples=10, seed=0)
    assert (actual.users, actual.differences, actual.delong) == (9, {}, None)
    assert sentences(actual) == ["not compared: fewer than 10 users, too few to resample"]
    result = {"n": chosen.sum(), "users": 9, "reason": "fewer than 10 users, too few to resample"}
    assert result_of(actual) == result


def test_different_examples_are_refused() -> None:
    other = dataclasses.replace(samples(), item_ids=samples().item_ids[::-1])
    with pytest.raises(CommandError, match="different samples"):
        compare_models([samples()], [other], resamples=10, seed=0)


def compared(p_value: float, delong: float | None = None) -> Compared:
    test = None if delong is None else DeLongTest(0.1, 0.1, 0.0, 0.2, delong)
    return Compared(9, 3, {"auc": Difference(0.6, 0.7, 0.1, 0.0, 0.2, p_value)}, test)


def test_p_values_are_corrected_over_all_groups_of_all_slices_for_each_test() -> None:
    slices = {
        "a": {"x": compared(0.01, 0.5), "y": compared(0.04, 0.001)},
        "b": {"x": compared(0.02, np.nan), "z": Compared(0, 0, reason="no samples")},
    }
    adjusted = adjusted_p_values(slices)
    bootstrap = holm([0.01, 0.04, 0.02])
    delong = holm([0.5, 0.001])
    assert [adjusted[place] for place in (("a", "x", "auc"), ("a", "y", "auc"))] == bootstrap[:2]
    assert adjusted["b", "x", "auc"] == bootstrap[2]
    assert [adjusted["a", "x", DELONG], adjusted["a", "y", DELONG]] == delong
    assert np.isnan(adjusted["b", "x", DELONG])
    assert ("b", "z", "auc") not in adjusted
