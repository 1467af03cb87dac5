from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError

from preprocessing.inspection.findings import Findings
from preprocessing.inspection.inspect import SchemaFeature
from preprocessing.inspection.record_checks import (
    BrokenRule,
    Example,
    ShardReader,
    check_example,
    complete_shards,
    read_record,
)
from preprocessing.records.contract import FeatureType
from preprocessing.records.tfrecord_file import write_records


def feature(**lists: list) -> tf.train.Feature:
    ((name, values),) = lists.items()
    kinds = {
        "bytes_list": tf.train.BytesList,
        "float_list": tf.train.FloatList,
        "int64_list": tf.train.Int64List,
    }
    return tf.train.Feature(**{name: kinds[name](value=values)})


def test_what_tensorflow_writes_is_read_and_written_back():
    values = {
        "a": feature(bytes_list=[b"", b"\xff\x00", b"x" * 300]),
        "b": feature(float_list=[0.1, -1e30, float("inf")]),
        "c": feature(int64_list=[0, -1, 1 << 62]),
        "d": feature(float_list=[]),
        "e": tf.train.Feature(),
    }
    written = tf.train.Example(features=tf.train.Features(feature=values))
    read = Example.FromString(written.SerializeToString()).features.feature
    assert set(read) == set(values)
    for name, expected in values.items():
        kind = expected.WhichOneof("kind")
        assert read[name].WhichOneof("kind") == kind
        if kind is not None:
            assert list(getattr(read[name], kind).value) == list(getattr(expected, kind).value)
    again = tf.train.Example.FromString(
        Example.FromString(written.SerializeToString()).SerializeToString()
    )
    assert again == written


@pytest.mark.parametrize("damaged", [b"\xff", b"\x0a\x05abc"])
def test_other_bytes_are_refused(damaged):
    with pytest.raises(DecodeError):
        Example.FromString(damaged)


GOOD = {
    "user_id": [b"u"],
    "item_id": [b"i"],
    "label": [1.0],
    "rating": [4.5],
    "history_item_id": [b"a", b"b"],
    "history_rating": [1.0, 2.0],
    "position": [2],
    "user_fold": [9],
}
LIST = {**GOOD, "item_id": [b"i", b"j"], "label": [1.0, 0.0], "rating": [4.5, 0.0]}
RETRIEVAL = {name: values for name, values in GOOD.items() if name not in ("label", "rating")}


@pytest.mark.parametrize(
    "record", [GOOD, LIST, RETRIEVAL, {**GOOD, "position": [7]}, {**GOOD, "label_loved": [1.0]}]
)
def test_sound_examples(record):
    check_example(record, history_length=2)


@pytest.mark.parametrize(
    ("record", "change", "check"),
    [
        (GOOD, {"user_id": [b""]}, "empty_id"),
        (LIST, {"item_id": [b"i", b""]}, "empty_id"),
        (LIST, {"label": [1.0]}, "unequal_lists"),
        (LIST, {"rating": [1.0, 2.0, 3.0]}, "unequal_lists"),
        (GOOD, {"label": [0.5]}, "label_range"),
        (GOOD, {"label": [-1.0]}, "label_range"),
        (GOOD, {"label_loved": [0.5]}, "label_range"),
        (GOOD, {"position": [-1], "history_item_id": [], "history_rating": []}, "position_range"),
        (GOOD, {"history_rating": [1.0]}, "unequal_lists"),
        (GOOD, {"position": [1]}, "history_length"),
        (GOOD, {"history_item_id": [b"a"], "history_rating": [1.0]}, "history_length"),
        (GOOD, {"user_fold": [10]}, "fold_range"),
        (GOOD, {"user_fold": [-1]}, "fold_range"),
    ],
)
def test_impossible_examples(record, change, check):
    with pytest.raises(BrokenRule) as raised:
        check_example({**record, **change}, history_length=2)
    assert raised.value.check == check


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


ID_SCHEMA = {"id": SchemaFeature(FeatureType.INT64, 1, 1)}


def serialized(*ids: int) -> list[bytes]:
    records = []
    for number in ids:
        example = Example()
        example.features.feature["id"].int64_list.value.append(number)
        records.append(example.SerializeToString())
    return records


def test_sound_records_come_and_others_are_told(tmp_path):
    path = tmp_path / "part.tfrecord.gz"
    first, second = serialized(7, 8)
    write_records(path, [first, b"\xff", second])
    findings = Findings()
    reader = ShardReader(ID_SCHEMA, findings)
    read = [(place, list(record["id"])) for place, record in reader.records(path, "part", 3)]
    assert read == [(1, [7]), (3, [8])]
    assert [(f.check, f.record) for f in findings.kept()] == [("unreadable_record", 2)]
    list(reader.records(path, "part", 4))
    assert "holds 3 records, the manifest counts 4" in findings.kept()[-1].message


def test_damage_ends_the_file_and_is_told_with_its_place(tmp_path):
    path = tmp_path / "part.tfrecord.gz"
    write_records(path, serialized(*range(5000)))
    path.write_bytes(path.read_bytes()[:-2000])
    findings = Findings()
    read = list(ShardReader(ID_SCHEMA, findings).records(path, "part", 5000))
    (finding,) = findings.kept()
    assert 0 < len(read) < 5000 and finding.record == len(read) + 1
    assert finding.check == "damaged_file" and str(tmp_path) not in finding.message
    assert "cut off" in finding.message and "--force" not in finding.message


def test_a_set_of_shards_must_be_whole(tmp_path):
    findings = Findings()
    assert complete_shards(tmp_path, "train", findings) == []
    for name in ("part-00000-of-00003.tfrecord.gz", "part-00002-of-00003.tfrecord.gz"):
        write_records(tmp_path / name, [])
    assert len(complete_shards(tmp_path, "train", findings)) == 2
    assert findings.by_check() == {"incomplete_shards": 2}
