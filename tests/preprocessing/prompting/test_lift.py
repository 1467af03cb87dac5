from __future__ import annotations

import numpy as np

from preprocessing.prompting.collective import GroupCounts, smoothed_lift


def test_lift_is_observed_over_expected_with_smoothing():
    lifts = smoothed_lift(np.array([1.0, 20.0, 0.0]), np.array([0.05, 5.0, 5.0]), 5.0)
    np.testing.assert_allclose(lifts, [6 / 5.05, 25 / 10, 5 / 10])


def test_over_represented_items_come_before_popular_ones():
    # item 0 is liked by everybody; item 1 mostly in group 0; item 2 once, in group 0
    counts = GroupCounts(groups=2, items=4)
    numbers = [10, 10, 6, 1, 1]
    counts.add(np.repeat([0, 1, 0, 1, 0], numbers), np.repeat([0, 0, 1, 1, 2], numbers))
    counts.add(np.array([1, -1]), np.array([3, 3]))
    ranked = counts.ranked(np.arange(2), smoothing=1.0)
    # lifts: (6+1)/(3.97+1), (1+1)/(.57+1), (10+1)/(11.33+1); 11/(8+1), 2/(.8+1), 2/(2.8+1)
    assert [codes.tolist() for codes in ranked] == [[1, 2, 0], [0, 3, 1]]


def test_merged_groups_are_counted_together():
    counts = GroupCounts(groups=3, items=3)
    counts.add(np.array([0, 1, 1, 2]), np.array([0, 1, 1, 2]))
    ranked = counts.ranked(np.array([0, 0, 2]), smoothing=1.0)
    assert sorted(ranked[0].tolist()) == [0, 1] and ranked[0].tolist()[0] == 1
    assert ranked[1].tolist() == [] and ranked[2].tolist() == [2]


def test_equal_items_keep_the_order_of_the_catalogue():
    counts = GroupCounts(groups=1, items=5)
    counts.add(np.zeros(3, dtype=np.int64), np.array([4, 1, 3]))
    assert counts.ranked(np.arange(1), 5.0)[0].tolist() == [1, 3, 4]


def test_no_interactions_give_no_items():
    counts = GroupCounts(groups=2, items=0)
    counts.add(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    assert [codes.tolist() for codes in GroupCounts(2, 3).ranked(np.arange(2), 1.0)] == [[], []]
