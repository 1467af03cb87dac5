from __future__ import annotations

import numpy as np

from preprocessing.prompting.collective import merge_groups

NOTHING = (np.empty(0, dtype=np.int64),) * 3


def rows(*triples: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ordered = np.array(sorted(triples))
    return ordered[:, 0], ordered[:, 1], ordered[:, 2]


def test_small_groups_go_to_the_one_with_the_largest_cosine():
    # group 0 likes items 0 and 1, group 1 item 2, group 3 item 1 only
    counts = rows((0, 0, 9), (0, 1, 9), (1, 2, 50), (1, 1, 1), (2, 1, 1), (3, 2, 1), (3, 1, 1))
    merging = merge_groups(np.array([10, 20, 2, 4]), 5, counts)
    # cosines: group 2 with 0: .707, with 1: .02; group 3 with 0: .5, with 1: .72
    assert merging.target.tolist() == [0, 1, 0, 1] and merging.suppressed == []


def test_groups_without_anything_in_common_go_to_the_largest():
    merging = merge_groups(np.array([5, 7, 0, 1]), 5, rows((0, 0, 1), (1, 1, 1), (3, 9, 1)))
    assert merging.target.tolist() == [0, 1, 1, 1]


def test_groups_are_never_merged_into_small_ones():
    merging = merge_groups(np.array([1, 1, 8]), 5, rows((0, 0, 5), (1, 0, 5), (2, 1, 1)))
    assert merging.target.tolist() == [2, 2, 2]


def test_where_all_are_small_they_become_one_or_none():
    assert merge_groups(np.array([2, 3, 1]), 5, NOTHING).target.tolist() == [1, 1, 1]
    assert merge_groups(np.array([2, 3, 1]), 5, NOTHING).suppressed == []
    assert merge_groups(np.array([2, 1]), 5, NOTHING).suppressed == [0]
    assert merge_groups(np.array([0]), 1, NOTHING).suppressed == [0]


def test_large_groups_stay_and_no_groups_are_no_problem():
    assert merge_groups(np.array([5, 6]), 5, NOTHING).target.tolist() == [0, 1]
    assert merge_groups(np.empty(0, dtype=np.int64), 5, NOTHING).target.tolist() == []
