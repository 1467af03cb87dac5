from __future__ import annotations

import numpy as np
import tensorflow as tf

from serving.id_tables import StoredUserRows


def test_one_lookup_serves_all_sources() -> None:
    rows = StoredUserRows(
        ["ann", "bob"], {"liked": np.array([0, 1, 3]), "user": np.array([0, 2, 0])}
    )
    found = rows(tf.constant(["bob", "nobody", "ann"]))
    np.testing.assert_array_equal(found["liked"], [3, 0, 1])
    np.testing.assert_array_equal(found["user"], [0, 0, 2])
    assert found["user"].dtype == tf.int32
    names = {variable.name for variable in rows.variables}
    assert {"users/knowledge_row/liked:0", "users/knowledge_row/user:0"} <= names
