from __future__ import annotations

import json
from typing import Any

import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError

from configs.command_line import CommandError
from preprocessing.examples import build_examples
from preprocessing.inspection.findings import CheckedStep, Findings
from preprocessing.inspection.folder_checks import validate_folders
from preprocessing.inspection.inspect import SchemaFeature
from preprocessing.inspection.record_checks import (
    BrokenRule,
    Example,
    PartTimes,
    ShardReader,
    UserRanges,
    check_example,
    check_leak_counts,
    complete_shards,
    read_record,
)
from preprocessing.interactions.leak_check import digest_seen_prompts
from preprocessing.records.contract import FeatureType
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.tfrecord_file import write_records
from tests.preprocessing.small_data import user_answer, user_source, write_lines


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


TRAIN, VALIDATION, TEST = range(3)


def problems(split_by: str, cap: int, examples: list[tuple[int, int, int]]) -> list[str]:
    """Checks that fail for one user's examples: part, position, time."""
    users = UserRanges(split_by, cap)
    for part, position, time in examples:
        users.add(b"user", part, position, time)
    return [check for check, _ in users.problems()]


@pytest.mark.parametrize(
    ("cap", "first", "last", "expected"),
    [
        # k_u = min(floor((n + 1) / 2), cap), n = last + 1
        (30, 3, 5, []),
        (30, 2, 5, ["leak_rule"]),
        (2, 2, 5, []),
        (2, 1, 5, ["leak_rule"]),
        (30, 3, 4, []),
        (30, 2, 4, ["leak_rule"]),
        (30, 1, 1, []),
        (30, 0, 0, ["leak_rule"]),
        (0, 0, 9, []),
    ],
)
def test_leak_rule(cap, first, last, expected):
    assert problems("user", cap, [(TRAIN, last, 9), (TRAIN, first, 1)]) == expected


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        ([(TRAIN, 3, 30), (VALIDATION, 4, 40), (TEST, 5, 50)], []),
        ([(TRAIN, 3, 40), (VALIDATION, 4, 40), (TEST, 5, 40)], []),
        ([(TRAIN, 3, 30), (TEST, 5, 50)], []),
        ([(TRAIN, 4, 30), (VALIDATION, 4, 40)], ["parts_out_of_order"]),
        ([(TRAIN, 3, 30), (VALIDATION, 5, 40), (TEST, 4, 50)], ["parts_out_of_order"]),
        ([(TRAIN, 3, 41), (VALIDATION, 4, 40)], ["parts_out_of_order"]),
        ([(TRAIN, 5, 30), (TEST, 4, 50)], ["parts_out_of_order"]),
    ],
)
def test_parts_follow_each_other_for_a_split_by_time(examples, expected):
    assert problems("time", 2, examples) == expected
    assert problems("column", 2, examples) == []


def test_times_may_go_back_where_a_column_gives_the_order():
    users = UserRanges("time", 2, ordered_by_time=False)
    users.add(b"ann", TRAIN, 3, 41)
    users.add(b"ann", VALIDATION, 4, 40)
    users.add(b"bob", TRAIN, 5, 30)
    users.add(b"bob", TEST, 4, 50)
    ((check, message),) = users.problems()
    assert check == "parts_out_of_order" and "position 5 is in train" in message


def test_a_user_has_one_part_in_a_split_by_user():
    examples = [(TRAIN, 3, 30), (TEST, 4, 40)]
    assert problems("user", 2, examples) == ["user_in_two_parts"]
    assert problems("user", 2, [(TEST, 3, 30), (TEST, 4, 20)]) == []


def test_users_are_apart_and_their_ids_hidden():
    users = UserRanges("time", 2)
    users.add(b"alice", TEST, 3, 30)
    users.add(b"bob", TRAIN, 1, 30)
    users.add(b"bob", TRAIN, 5, 50)
    ((check, message),) = users.problems()
    assert check == "leak_rule" and "bob" not in message
    assert "position 1, but of 6 interactions the LLM may have seen the first 2" in message


def test_parts_follow_each_other_over_all_users():
    times = PartTimes()
    for part, time in [(0, 5), (1, 7), (0, 6), (2, 9), (1, 8)]:
        times.add(part, time)
    assert list(times.problems()) == []
    times.add(0, 7)
    assert list(times.problems()) == ["train ends at time 7, validation begins at 7"]


def test_missing_parts_are_left_out():
    times = PartTimes()
    assert list(times.problems()) == []
    times.add(2, 3)
    times.add(0, 4)
    assert list(times.problems()) == ["train ends at time 4, test begins at 3"]


def lines(tmp_path, counts: object) -> list[str]:
    findings = Findings()
    check_leak_counts(CheckedStep(tmp_path, {"counts": counts}, "examples", findings))
    return [finding.line() for finding in findings.kept()]


def test_no_violation_and_no_unverified_source(tmp_path):
    assert lines(tmp_path, {"leak_violations": 0, "leak_check": {"unverified_sources": []}}) == []


def test_violations_are_errors_and_unverified_sources_notes(tmp_path):
    counts = {"leak_violations": 3, "leak_check": {"unverified_sources": ["item"]}}
    error, note = lines(tmp_path, counts)
    assert "3 samples were shown to the LLM; run 'python -m preprocessing examples'" in error
    assert note.startswith("note: examples/manifest.json: source 'item': nothing shows")
    declared = {"unverified_sources": [], "declared_sources": {"user": "training"}}
    (note,) = lines(tmp_path, {"leak_violations": 0, "leak_check": declared})
    assert note.startswith("note: examples/manifest.json: source 'user': declared to be made from")
    (missing,) = lines(tmp_path, {})
    assert "counts no 'leak_violations'" in missing


def test_what_prompts_show_is_looked_up_again(small_scenario, small_folder):
    answers = small_folder / "users.jsonl"
    write_lines(answers, [user_answer("ann", 0, 1), user_answer("bob", 0, 1)])
    source = user_source(small_folder, " stars;")
    scenario = small_scenario(knowledge__answers__user=source, data__history_length=200)
    build_examples(scenario)
    folder = WorkDirectory(scenario.work_dir).examples.path

    def found() -> dict[str, int]:
        try:
            result = validate_folders([folder], strict=False)
        except CommandError as error:
            result = error.result
        kinds = ("leak_rule", "prompts_not_checked", "damaged_manifest")
        return {kind: count for kind, count in result["by_check"].items() if kind in kinds}

    assert found() == {}
    # The same examples, with answers whose prompts show a later film, and an honest digest of them.
    write_lines(answers, [user_answer("ann", 0, 3), user_answer("bob", 0, 1)])
    assert found() == {"prompts_not_checked": 1}
    manifest = json.loads((folder / "manifest.json").read_text())
    digests = digest_seen_prompts(scenario.knowledge.answers, ["user"])
    (folder / "manifest.json").write_text(json.dumps({**manifest, "seen_interactions": digests}))
    assert found() == {"leak_rule": 1}
    answers.unlink()
    assert found() == {"prompts_not_checked": 1}
