from __future__ import annotations

import numpy as np
import pytest

from preprocessing.grouping.features import (
    items_to_group,
    pairs_matrix,
    user_vectors,
    users_to_group,
)
from tests.preprocessing.grouping.test_item_features import ITEMS, KNOWN

BLOCKS = [np.eye(4, dtype=np.float32), np.ones([4, 2], dtype=np.float32)]


def test_all_items_are_grouped_and_those_with_a_title_speak():
    entities = items_to_group(ITEMS, iter(BLOCKS))
    assert entities.ids.equals(ITEMS.ids) and entities.left_out == {"filtered_out": 0}
    assert entities.vectors.shape == (4, 6)
    assert entities.counted.tolist() == [True, True, True, False]


@pytest.mark.parametrize(("kind", "users"), [("liked", ["u", "v"]), ("disliked", [])])
def test_users_without_a_title_to_show_are_left_out(kind, users):
    # v liked b and c; u liked a and disliked d, which has no title; w did nothing
    entities = users_to_group(kind, ITEMS, BLOCKS, KNOWN)
    assert entities.ids.to_pylist() == users
    assert entities.left_out == {f"without_{kind}_titles": 3 - len(users)}
    assert entities.counted.all() and entities.vectors.shape == (len(users), 6)


def test_each_kind_of_feature_is_averaged_apart():
    entities = users_to_group("liked", ITEMS, BLOCKS, KNOWN)
    judged = pairs_matrix(np.array([0, 1, 1]), np.array([0, 1, 2]), (2, 4))
    np.testing.assert_array_equal(entities.vectors[:, :4], user_vectors(judged, BLOCKS[0]))
    assert not entities.vectors[:, 4:].any()  # all users are alike there
