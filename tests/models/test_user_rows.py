from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.knowledge import EntityIndex, UserRows


def test_users_of_all_sources() -> None:
    rows = UserRows(
        {
            "liked": EntityIndex(["bob", "ann"], np.array([3, 1])),
            "user": EntityIndex(["cid"], np.array([2])),
        }
    )
    assert rows.sources == ("liked", "user")
    found = rows(tf.constant(["ann", "nobody", "cid"]))
    np.testing.assert_array_equal(found["liked"], [1, 0, 0])
    np.testing.assert_array_equal(found["user"], [0, 0, 2])
    users, by_source = rows.known_users()
    assert users == ["ann", "bob", "cid"]
    np.testing.assert_array_equal(by_source["liked"], [0, 1, 3, 0])
    np.testing.assert_array_equal(by_source["user"], [0, 0, 0, 2])


def test_no_source_knows_nobody() -> None:
    nothing = UserRows({})
    assert nothing.sources == () and nothing(tf.constant(["ann"])) == {}
    assert nothing.known_users() == ([], {})
