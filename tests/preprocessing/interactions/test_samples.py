from __future__ import annotations

import numpy as np
import pyarrow as pa
import tensorflow as tf

from preprocessing.interactions.reading import INTERACTION_SCHEMA
from preprocessing.interactions.samples import SampleColumns, user_folds
from preprocessing.interactions.sequences import order_interactions
from preprocessing.records.contract import EXAMPLE_FEATURES
from preprocessing.records.wire import encode_examples


def test_columns_follow_the_order_of_the_rows():
    table = pa.table(
        [
            ["a", "a", "a", "b"],
            ["1", "2", "3", "1"],
            [5.0, 1.0, 4.0, 2.0],
            [1, 2, 3, 1],
            [2, 3, 4, 5],
        ],
        schema=INTERACTION_SCHEMA,
    )
    sequences, _ = order_interactions(table, "file", integer_items=True)
    columns = SampleColumns(sequences, positive_rating=4.0, history_length=1)
    rows = [
        tf.train.Example.FromString(serialized).features.feature
        for serialized in encode_examples(columns.of_rows(np.array([3, 2, 0])))
    ]
    assert [row["user_id"].bytes_list.value[0] for row in rows] == [b"b", b"a", b"a"]
    assert [list(row["history_item_id"].bytes_list.value) for row in rows] == [[], [b"2"], []]
    assert [row["label"].float_list.value[0] for row in rows] == [0.0, 1.0, 1.0]
    assert [row["user_share_liked"].float_list.value[0] for row in rows] == [0.0, 0.5, 0.0]
    assert [row["user_mean_rating"].float_list.value[0] for row in rows] == [0.0, 3.0, 0.0]
    assert set(rows[0]) == {feature.name for feature in EXAMPLE_FEATURES}


def test_folds_are_even_and_never_change():
    folds = user_folds([str(user) for user in range(5000)])
    assert folds.min() == 0 and folds.max() == 9
    assert np.bincount(folds).min() > 400
    # blake2b-64 of the id under the key "fold", modulo 10, written down once
    assert user_folds(["1", "2", "ann", "Größe"]).tolist() == [2, 5, 8, 7]
