from __future__ import annotations

import numpy as np

from preprocessing.grouping.features import co_occurrence_weights, pairs_matrix


def test_a_pair_counts_once_and_the_order_of_pairs_makes_no_difference():
    rows, columns = np.array([2, 0, 2, 2]), np.array([1, 0, 1, 0])
    matrix = pairs_matrix(rows, columns, (3, 2))
    assert matrix.toarray().tolist() == [[1, 0], [0, 0], [1, 1]]
    shuffled = pairs_matrix(rows[::-1], columns[::-1], (3, 2))
    for name in ("data", "indices", "indptr"):
        assert (getattr(matrix, name) == getattr(shuffled, name)).all()


def test_users_of_few_items_weigh_more():
    items, users = np.array([0, 1, 0, 1, 2, 3]), np.array([0, 0, 1, 1, 1, 2])
    weights = co_occurrence_weights(items, users, items=4, users=3).toarray()
    # user 0 has 2 of 4 items, user 1 three, user 2 a single one: nothing in common there
    first, second = np.log(5 / 3), np.log(5 / 4)
    expected = [[first, second, 0], [first, second, 0], [0, second, 0], [0, 0, 0]]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
