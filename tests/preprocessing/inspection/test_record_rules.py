from __future__ import annotations

from typing import Any

import pytest

from preprocessing.inspection.inspect import SchemaFeature
from preprocessing.inspection.record_checks import BrokenRule, Example, read_record
from preprocessing.records.contract import FeatureType

SCHEMA = {
    "name": SchemaFeature(FeatureType.BYTES, 1, 1),
    "scores": SchemaFeature(FeatureType.FLOAT, 0, 3),
    "tags": SchemaFeature(FeatureType.INT64, 1, None),
}


def record(name=(b"x",), scores=(0.5,), tags=(1, 2), **more: Any) -> bytes:
    example = Example()
    features = example.features.feature
    if name is not None:
        features["name"].bytes_list.value.extend(name)
    features["scores"].float_list.value.extend(scores)
    features["tags"].int64_list.value.extend(tags)
    for other, values in more.items():
        features[other].float_list.value.extend(values)
    # An empty list must still say which kind of list it is.
    features["scores"].float_list.SetInParent()
    return example.SerializeToString(deterministic=True)


def test_a_sound_record_is_read():
    read = read_record(record(scores=()), SCHEMA)
    assert {name: list(values) for name, values in read.items()} == {
        "name": [b"x"],
        "scores": [],
        "tags": [1, 2],
    }


@pytest.mark.parametrize(
    ("serialized", "check", "message"),
    [
        (b"\xff\xff", "unreadable_record", "not a serialized tf.train.Example"),
        (record(name=None), "missing_feature", "feature 'name' is missing"),
        (record(name=(b"a", b"b")), "wrong_count", "'name' has 2 values, its schema says 1"),
        (record(scores=[1.0] * 4), "wrong_count", "has 4 values, its schema says 0 to 3"),
        (record(scores=[1.0, float("nan")]), "not_finite", "'scores' holds a number"),
        (record(scores=[float("inf"), float("-inf")]), "not_finite", "'scores' holds"),
        (record(age=[1.0]), "unknown_feature", "'age' is not in the schema"),
    ],
)
def test_broken_rules(serialized, check, message):
    with pytest.raises(BrokenRule) as raised:
        read_record(serialized, SCHEMA)
    assert raised.value.check == check and message in raised.value.message


def test_the_type_counts():
    schema = {**SCHEMA, "tags": SchemaFeature(FeatureType.FLOAT, 1, None)}
    with pytest.raises(BrokenRule, match="'tags' is a int64_list, its schema says float_list"):
        read_record(record(), schema)
    example = Example.FromString(record())
    example.features.feature["tags"].Clear()
    with pytest.raises(BrokenRule, match="'tags' is a None"):
        read_record(example.SerializeToString(), SCHEMA)


def test_large_numbers_are_finite():
    assert read_record(record(scores=[3e38, 3e38, 3e38]), SCHEMA)
