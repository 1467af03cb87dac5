from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving.id_tables import IdIndex, IndexContents, IndexOverflow
from serving.refresh.checkpoint import IdLookup

_IDS = [f"item {number}" for number in range(300)]


def test_rows_are_those_of_the_index_in_the_graph() -> None:
    lookup = IdLookup(IndexContents.of_ids(_IDS))
    asked = [_IDS[0], "stranger", _IDS[299], "", _IDS[150]]
    assert lookup.rows(asked).tolist() == IdIndex(_IDS, "x")(tf.constant(asked)).numpy().tolist()
    assert lookup.num_rows == 301


def test_ids_that_join_follow_the_others() -> None:
    lookup = IdLookup(IndexContents.of_ids(_IDS))
    lookup.add(["a", "b"])
    lookup.add(["c"])
    assert lookup.rows(["c", "a", _IDS[7]]).tolist() == [303, 301, 8]
    assert lookup.new_ids == ["a", "b", "c"]
    graph = IdIndex(_IDS, "x")
    values = lookup.variables("x")
    for variable in graph.variables:
        name = variable.name.removesuffix(":0")
        if name in values:
            variable.assign(values[name])
    assert graph(tf.constant(["c", "a", _IDS[7], "?"])).numpy().tolist() == [303, 301, 8, 0]


def test_an_empty_index_takes_ids() -> None:
    lookup = IdLookup(IndexContents.of_ids([]))
    assert lookup.rows(["a"]).tolist() == [0]
    lookup.add(["a"])
    np.testing.assert_array_equal(lookup.rows(["a", "b"]), [1, 0])


def test_a_known_id_cannot_join() -> None:
    with pytest.raises(IndexOverflow, match="fingerprint of another one"):
        IdLookup(IndexContents.of_ids(_IDS)).add([_IDS[3]])
