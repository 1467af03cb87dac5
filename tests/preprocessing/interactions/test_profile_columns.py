from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from configs.data import Attribute
from preprocessing.interactions.catalogue import ProfileColumns
from preprocessing.records.wire import encode_examples

ATTRIBUTES = {
    "jobs": Attribute(kind="categorical", separator="|"),
    "age": Attribute(kind="numeric"),
}
SCHEMA = pa.schema(
    {"user": pa.string(), "jobs": pa.list_(pa.string()), "age": pa.float64(), "line": pa.int64()}
)


def profiles(*rows: tuple[str, list[str] | None, float | None]) -> pa.Table:
    named = [{"user": user, "jobs": jobs, "age": age, "line": 1} for user, jobs, age in rows]
    return pa.Table.from_pylist(named, schema=SCHEMA)


def decoded(columns: ProfileColumns, users: list[int]) -> list[dict[str, list]]:
    rows = []
    for serialized in encode_examples(columns.of_users(np.array(users, np.int64))):
        features = tf.train.Example.FromString(serialized).features.feature
        rows.append(
            {
                name: list(getattr(feature, feature.WhichOneof("kind")).value)
                for name, feature in features.items()
            }
        )
    return rows


def test_values_are_those_of_the_user():
    table = profiles(("b", ["cook", "größe"], 30.5), ("x", ["spy"], 1.0), ("a", [], None))
    table = pa.concat_tables([table.slice(1), table.slice(0, 1)])  # several chunks, with offsets
    columns = ProfileColumns(table, ["a", "b", "c"], ATTRIBUTES)
    nothing = {"profile_jobs": [], "profile_age": []}
    assert decoded(columns, [1, 0, 2, 1]) == [
        {"profile_jobs": [b"cook", "größe".encode()], "profile_age": [30.5]},
        nothing,
        nothing,
        {"profile_jobs": [b"cook", "größe".encode()], "profile_age": [30.5]},
    ]


def test_values_are_counted_by_user():
    table = profiles(("a", ["cook", "spy"], 1.0), ("b", ["spy"], None), ("c", None, 2.0))
    columns = ProfileColumns(table, ["a", "b", "c", "d"], ATTRIBUTES)
    assert columns.count_values(np.array([0, 1, 2, 3])) == {"profile_jobs": {"cook": 1, "spy": 2}}
    assert columns.count_values(np.array([1]))["profile_jobs"]["cook"] == 0


@pytest.mark.parametrize("users", [["a"], []])
def test_no_profiles_at_all(users):
    columns = ProfileColumns(profiles(), users, ATTRIBUTES)
    nothing = {"profile_jobs": [], "profile_age": []}
    assert decoded(columns, [0] * len(users)) == [nothing] * len(users)
    assert columns.count_values(np.arange(len(users))) == {"profile_jobs": {}}
    assert ProfileColumns(profiles(), users, {}).of_users(np.zeros(0, int)) == {}
