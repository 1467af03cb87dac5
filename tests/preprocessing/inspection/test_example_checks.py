from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from preprocessing.examples import build_examples
from preprocessing.inspection.example_checks import (
    Coverage,
    ExamplesCheck,
    ExampleSettings,
    PartClasses,
    check_example_counts,
    check_item_attributes,
    check_vocabularies,
    settings_of,
)
from preprocessing.inspection.findings import CheckedStep, Findings
from preprocessing.inspection.inspect import read_manifest
from preprocessing.inspection.record_checks import Example
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.tfrecord_file import read_records
from tests.preprocessing.work_folder import checks, largest_shard, reseal, rewrite_records, validate


def test_coverage_shares_by_part():
    coverage = Coverage("item_id", frozenset([b"a", b"b"]))
    assert coverage.add(0, [b"a", b"b", b"a"]) == []
    assert coverage.add(2, [b"a", b"x", b"y"]) == [1, 2]
    assert coverage.shares() == {"train": 1.0, "test": 0.333333}


def test_values_are_read_as_records_hold_them(tmp_path):
    step = CheckedStep(tmp_path, {}, "examples", Findings())
    path = tmp_path / "vocabularies" / "item_id.txt"
    path.parent.mkdir()
    path.write_text("é\nb\n", encoding="utf-8")
    assert step.vocabulary("item_id") == {"é".encode(), b"b"}
    with pytest.raises(DamagedRecords):
        step.vocabulary("none")


def by_part(train: int, validation: int, test: int) -> dict[str, int]:
    return {"train": train, "validation": validation, "test": test}


GOOD = {
    "counts": {
        "records_out": 10,
        "samples": 9,
        "sampled_negatives": 2,
        "history_only": 3,
        "parts": by_part(5, 2, 2),
        "examples": {"ctr": by_part(5, 2, 2), "rerank": by_part(2, 1, 1)},
    },
    "shards": [
        {"examples": {"ctr": by_part(3, 2, 0), "rerank": by_part(1, 1, 0)}},
        {"examples": {"ctr": by_part(2, 0, 2), "rerank": by_part(1, 0, 1)}},
    ],
}


def messages(tmp_path, manifest) -> list[str]:
    findings = Findings()
    check_example_counts(CheckedStep(tmp_path, manifest, "examples", findings))
    return [finding.message for finding in findings.kept()]


def test_example_counts_that_add_up(tmp_path):
    assert messages(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("counts", "samples"), 8, "counts.samples is 8, its parts add up to 9"),
        (("counts", "records_out"), 8, "counts.records_out is 8"),
        (("counts", "parts", "test"), "2", "no whole number 'test'"),
        (("counts", "examples", "rerank"), None, "no whole number 'train'"),
        (("counts", "examples", "ctr", "test"), 3, "counts.examples.ctr.test is 3, the shards add"),
        (("shards", 1, "examples", "ctr", "train"), 1, "counts.examples.ctr.train is 5"),
        (("shards", 1), "x", "the shards add up to"),
        (("shards",), 3, "the shards add up to 0"),
        (("counts",), 3, "no whole number 'samples'"),
    ],
)
def test_example_counts_that_do_not(tmp_path, path, value, message):
    manifest = copy.deepcopy(GOOD)
    tree = manifest
    for name in path[:-1]:
        tree = tree[name]
    tree[path[-1]] = value
    (actual,) = messages(tmp_path, manifest)
    assert message in actual


@pytest.mark.parametrize(
    ("labels", "records", "expected", "found"),
    [
        ([[1.0], [0.0]], 2, 2, {}),
        ([[1.0, 0.0]], 1, 1, {}),
        ([[0.0], [0.0]], 2, 2, {"one_class": 1}),
        ([[1.0, 1.0]], 1, 1, {"one_class": 1}),
        ([[], []], 2, 2, {}),  # examples for retrieval have no labels
        ([], 0, 0, {"empty_part": 1}),
        ([], 0, None, {"empty_part": 1}),
        ([], 0, 5, {}),
    ],
)
def test_parts_that_are_empty_or_have_one_class(labels, records, expected, found):
    classes, findings = PartClasses(), Findings()
    for label in labels:
        classes.add(label)
    classes.check(records, expected, "examples/ctr/test", findings)
    assert findings.by_check() == found


def test_validate_warns_of_such_parts(capsys, small_scenario, small_folder):
    rows = [f"bob,{item},{rating},{item}" for item, rating in enumerate((5, 1, 4, 5), 7)]
    (small_folder / "interactions.csv").write_text(
        "\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n"
    )
    scenario = small_scenario()
    build_examples(scenario)
    code, result, err = validate(capsys, scenario.work_dir)
    assert code == 0 and checks(result) == {"empty_part", "one_class"}
    assert result["by_check"] == {"empty_part": 2, "one_class": 1}
    assert "examples/ctr/train: all 2 labels of the part are 1" in err
    assert "examples/ctr/test: the part has no examples" in err


def test_validate_compares_profiles_with_the_log(capsys, small_scenario, small_folder):
    path = small_folder / "profiles.csv"
    path.write_text("user,job\nbob,spy\n")
    profiles = {
        "path": str(path),
        "user": "user",
        "attributes": {"job": {"kind": "categorical"}},
    }
    scenario = small_scenario(data__profiles=profiles)
    build_examples(scenario)
    code, result, err = validate(capsys, scenario.work_dir)
    assert code == 0 and result["by_check"]["few_ids_meet"] == 1
    assert "users with profiles have " in err
    examples = Path(scenario.work_dir) / "examples"
    for part in ("train", "validation", "test"):
        for shard in (examples / "ctr" / part).iterdir():
            rewrite_records(shard, lambda records: [without_job(record) for record in records])
    reseal(examples)
    code, result, err = validate(capsys, scenario.work_dir)
    assert code == 1 and result["by_check"]["ids_do_not_meet"] == 1
    assert "data.profiles.user" in err


def without_job(record: bytes) -> bytes:
    example = Example.FromString(record)
    del example.features.feature["profile_job"].bytes_list.value[:]
    return example.SerializeToString()


@pytest.fixture
def found(damaged):
    """Runs a check on the examples and returns its findings as lines."""

    def run(check) -> list[str]:
        findings = Findings()
        folder = damaged / "examples"
        manifest = read_manifest(folder / "manifest.json")
        check(CheckedStep(folder, manifest, "examples", findings))
        return [finding.line() for finding in findings.kept()]

    return run


def test_vocabularies(damaged, found):
    assert found(check_vocabularies) == []
    path = damaged / "examples" / "vocabularies" / "item_id.txt"
    whole = path.read_text()
    path.write_text(whole + "new\n")
    (line,) = found(check_vocabularies)
    assert line.startswith("error: examples/vocabularies/item_id.txt: has ")
    path.write_text(whole[:-1])
    assert "the last line is cut off" in found(check_vocabularies)[0]
    path.unlink()
    assert "cannot be read" in found(check_vocabularies)[0]


def test_item_attributes(damaged, found):
    assert found(check_item_attributes) == []
    path = damaged / "examples" / "item_attributes.parquet"
    path.write_bytes(b"PAR1 and no more")
    (line,) = found(check_item_attributes)
    assert line.startswith("error: examples/item_attributes.parquet: not a whole Parquet file")
    path.unlink()
    assert "not a whole Parquet file" in found(check_item_attributes)[0]


def test_records_and_coverage_of_every_kind(damaged):
    folder = damaged / "examples"
    manifest = read_manifest(folder / "manifest.json")
    settings = settings_of(manifest)
    assert settings == ExampleSettings(history_length=5, split_by="time", cap=3)
    findings = Findings()
    check = ExamplesCheck(CheckedStep(folder, manifest, "examples", findings), settings)
    check.run()
    assert findings.by_check() == {}
    assert check.records == manifest["counts"]["examples"]
    assert set(check.coverage) == {"ctr", "rerank", "retrieval"}
    # Lists for re-ranking hold sampled items, which need not occur in training.
    assert check.coverage["rerank"]["item_id"]["train"] < 1


@pytest.mark.parametrize("missing", ["data.history_length", "split.by"])
def test_settings_must_be_whole(missing):
    settings = {
        "data.history_length": 5,
        "split.by": "time",
        "split.knowledge_history_cap": 3,
    }
    assert settings_of({"settings": settings}) == ExampleSettings(5, "time", 3)
    ordered = settings | {"data.interactions.columns.order": "rank"}
    assert settings_of({"settings": ordered}) == ExampleSettings(5, "time", 3, False)
    del settings[missing]
    assert settings_of({"settings": settings}) is None
    assert settings_of({"settings": 5}) is None


def test_parts_over_all_users_are_compared_for_a_split_by_time(damaged):
    folder = damaged / "examples"
    manifest = read_manifest(folder / "manifest.json")
    findings = Findings()
    settings = ExampleSettings(history_length=5, split_by="global_time", cap=3)
    ExamplesCheck(CheckedStep(folder, manifest, "examples", findings), settings).run()
    # Split by time within each user: users' parts overlap each other's.
    assert findings.by_check() == {"parts_out_of_order": 6}


RecordChange = Callable[[Any], None]


def change_first_record(path: Path, change: RecordChange) -> None:
    def rewritten(records: list[bytes]) -> list[bytes]:
        example = Example.FromString(records[0])
        change(example.features.feature)
        return [example.SerializeToString(), *records[1:]]

    rewrite_records(path, rewritten)


def set_float(name: str, *values: float) -> RecordChange:
    return lambda features: features[name].float_list.value.__setitem__(slice(None), values)


def set_integer(name: str, value: int) -> RecordChange:
    return lambda features: features[name].int64_list.value.__setitem__(slice(None), [value])


def set_bytes(name: str, *values: bytes) -> RecordChange:
    return lambda features: features[name].bytes_list.value.__setitem__(slice(None), values)


def begin_earlier(features: Any) -> None:
    """What the user's very first interaction would look like."""
    set_integer("position", 0)(features)
    set_bytes("history_item_id")(features)
    set_float("history_rating")(features)


@pytest.mark.parametrize(
    ("kind", "change", "check", "message"),
    [
        ("ctr", set_float("label", 2.0), "label_range", "label is 2, must be 0 or 1"),
        ("ctr", set_float("rating", float("inf")), "not_finite", "'rating' holds a number that"),
        ("ctr", set_float("rating", 1, 2), "wrong_count", "has 2 values, its schema says 1"),
        ("ctr", set_bytes("user_id", b""), "empty_id", "'user_id' is empty"),
        ("ctr", set_bytes("item_id", b"i999"), "not_in_vocabulary", "item_id i999 of a training"),
        ("ctr", set_bytes("history_item_id", b"i1"), "unequal_lists", "the history has 1 items"),
        ("ctr", set_bytes("history_item_id", *[b"i1"] * 6), "wrong_count", "schema says 0 to 5"),
        ("ctr", set_integer("position", 1), "history_length", "with 1 earlier interactions"),
        ("ctr", set_integer("user_fold", 10), "fold_range", "'user_fold' is 10, must be below 10"),
        ("ctr", lambda features: features.pop("timestamp"), "missing_feature", "'timestamp'"),
        ("ctr", set_integer("rating", 4), "wrong_type", "is a int64_list, its schema says float"),
        ("ctr", set_float("age", 4), "unknown_feature", "'age' is not in the schema"),
        ("ctr", begin_earlier, "leak_rule", "at position 0, but of 14 interactions"),
        ("rerank", set_float("label", 1.0), "unequal_lists", "10 candidates, but 'label' has 1"),
        ("rerank", set_float("label", *[0.5] * 10), "label_range", "label is 0.5"),
        ("rerank", begin_earlier, "leak_rule", "at position 0"),
        ("retrieval", set_bytes("item_id"), "wrong_count", "has 0 values"),
        ("retrieval", begin_earlier, "leak_rule", "at position 0"),
    ],
)
def test_a_changed_record(capsys, damaged, kind, change, check, message):
    examples = damaged / "examples"
    shard = largest_shard(examples / kind / "train")
    change_first_record(shard, change)
    reseal(examples)
    code, result, err = validate(capsys, damaged)
    assert code == 1 and checks(result) == {check}
    (finding, *_) = result["findings"]
    assert message in finding["message"]
    place = f"examples/{kind}/train/{shard.name}"
    assert (finding["file"], finding["record"]) in {(place, 1), (place.replace("train", "*"), None)}
    assert finding["message"] in err and finding["fix"] in err


def test_a_record_that_is_no_example(capsys, damaged):
    shard = largest_shard(damaged / "examples" / "ctr" / "validation")
    rewrite_records(shard, lambda records: [b"\xff\xff", *records[1:]])
    reseal(damaged / "examples")
    code, result, _ = validate(capsys, damaged / "examples")
    assert code == 1 and checks(result) == {"unreadable_record"}


def test_records_too_few_and_too_many(capsys, damaged):
    train = largest_shard(damaged / "examples" / "ctr" / "train")
    rewrite_records(train, lambda records: records[:-1])
    reseal(damaged / "examples")
    code, result, err = validate(capsys, damaged)
    assert code == 1 and checks(result) == {"wrong_record_count"}
    assert "the manifest counts" in err


def test_a_test_example_among_the_training_examples(capsys, damaged):
    train = largest_shard(damaged / "examples" / "ctr" / "train")
    (moved, *_) = read_records(damaged / "examples" / "ctr" / "test" / train.name)
    rewrite_records(train, lambda records: [moved, *records[1:]])
    reseal(damaged / "examples")
    code, result, err = validate(capsys, damaged / "examples")
    assert code == 1 and "parts_out_of_order" in checks(result)
    assert "is in train, the earlier or equal position" in err


def test_user_ids_are_not_shown(capsys, damaged):
    shard = largest_shard(damaged / "examples" / "ctr" / "train")
    change_first_record(shard, set_bytes("user_id", b"Jane Doe"))
    reseal(damaged / "examples")
    code, result, err = validate(capsys, damaged / "examples")
    assert code == 1 and "not_in_vocabulary" in checks(result)
    assert "Jane" not in err and "Jane" not in json.dumps(result)


def test_many_findings_of_a_kind_are_counted_and_few_are_listed(capsys, damaged):
    shard = largest_shard(damaged / "examples" / "ctr" / "train")
    rewrite_records(shard, lambda records: [b"\xff"] * len(records))
    reseal(damaged / "examples")
    count = sum(1 for _ in read_records(shard))
    _, result, err = validate(capsys, damaged / "examples")
    assert result["by_check"]["unreadable_record"] == count > 5
    listed = [f for f in result["findings"] if f["check"] == "unreadable_record"]
    assert len(listed) == 5 and f"and {result['findings_not_listed']} more" in err
