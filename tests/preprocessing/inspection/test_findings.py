from __future__ import annotations

import hashlib
import json

import pytest

from preprocessing.inspection.findings import (
    REBUILD,
    CheckedStep,
    CountMismatch,
    Findings,
    Severity,
    check_counts,
    check_files,
    number,
    records_of_shard,
    require_equal,
    section,
)


def test_findings_are_counted_listed_errors_first_and_shown():
    findings = Findings()
    findings.note("unverified", "a", "for people")
    findings.warning("leftover", "b", "left behind", fix="remove it")
    findings.error("damaged", "c", "is damaged", record=7)
    findings.error("missing", "d", "is missing", fix="")
    assert [finding.line() for finding in findings.kept()] == [
        f"error: c: record 7: is damaged; {REBUILD}",
        "error: d: is missing",
        "warning: b: left behind; remove it",
        "note: a: for people",
    ]
    counts = [findings.count(severity) for severity in Severity]
    assert counts == [2, 1, 1]
    assert findings.by_check() == {"damaged": 1, "leftover": 1, "missing": 1}
    assert findings.kept()[0].as_dictionary() == {
        "severity": "error",
        "check": "damaged",
        "file": "c",
        "record": 7,
        "message": "is damaged",
        "fix": REBUILD,
    }


def test_of_many_alike_the_first_are_kept():
    findings = Findings()
    for record in range(1, 21):
        findings.error("damaged", "a", "x", record)
        findings.error("damaged", "b", "x", record)
    kept = [(finding.file, finding.record) for finding in findings.kept()]
    assert sorted(kept) == [(file, record) for file in "ab" for record in range(1, 6)]
    assert findings.not_kept() == 30 and findings.by_check() == {"damaged": 40}


GOOD = {
    "records_in": 10,
    "records_out": 6,
    "dead_letters": 1,
    "filtered_out": 3,
    "rejected_by_reason": {"x": 1},
    "groups": {
        "records_in": 4,
        "records_out": 2,
        "dead_letters": 2,
        "rejected_by_reason": {"y": 2},
    },
}


def messages(folder, counts: object, letters: int = 3) -> list[str]:
    lines = [json.dumps({"file": "a", "line": n, "reason": "x"}) for n in range(letters)]
    (folder / "dead_letters.jsonl").write_text("".join(f"{line}\n" for line in lines))
    findings = Findings()
    check_counts(CheckedStep(folder, {"counts": counts}, "step", findings))
    return [finding.message for finding in findings.kept()]


def test_counts_that_add_up(tmp_path):
    assert messages(tmp_path, GOOD) == []
    assert messages(tmp_path, {**GOOD, "filtered_out": {"users": 1, "items": 2}}) == []
    assert messages(tmp_path, {"prompts": 3}, letters=0) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"records_in": 11}, "counts.records_in is 11, records out, rejected and filtered out"),
        ({"rejected_by_reason": {}}, "counts.dead_letters is 1, the reasons add up to 0"),
        ({"groups": {**GOOD["groups"], "records_out": 3}}, "counts.groups.records_in is 4"),
        ({"dead_letters": None}, "counts has no whole set of counts"),
        ({"groups": {"records_in": 4}}, "counts.groups has no whole set of counts"),
    ],
)
def test_counts_that_do_not(tmp_path, change, message):
    (actual,) = messages(tmp_path, {**GOOD, **change})
    assert message in actual


def test_dead_letters_are_counted_in_the_file(tmp_path):
    assert messages(tmp_path, GOOD, letters=2) == ["holds 2 dead letters, the manifest counts 3"]
    (tmp_path / "dead_letters.jsonl").write_text("no\n")
    findings = Findings()
    check_counts(CheckedStep(tmp_path, {"counts": GOOD}, "step", findings))
    assert findings.by_check() == {"unreadable_dead_letters": 1}


def test_dead_letters_listed_by_file_and_reason(tmp_path):
    (tmp_path / "dead_letters.jsonl").write_text('{"file": "a", "line": 1, "reason": "x"}\n')
    for listed, count in [({"a": {"x": 1}}, 0), ({"a": {"y": 1}}, 1), ({"a": {"x": 2}}, 1)]:
        findings = Findings()
        manifest = {"rejected": listed, "counts": {"entities": 3}}
        check_counts(CheckedStep(tmp_path, manifest, "step", findings))
        assert findings.by_check() == ({"counts_do_not_add_up": 1} if count else {})


def test_a_mismatch_names_both_counts():
    require_equal("a", 1, "b is", 1)
    with pytest.raises(CountMismatch, match="a is 1,000, b is 2"):
        require_equal("a", 1000, "b is", 2)


def test_names_sizes_and_checksums_are_compared(tmp_path):
    contents = {"same": b"1", "sub/longer": b"22", "changed": b"3"}
    files = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in contents.items()
    }
    files["gone"] = {"sha256": "", "bytes": 0}
    (tmp_path / "sub").mkdir()
    for name, content in {**contents, "sub/longer": b"222", "changed": b"4", "new": b""}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "manifest.json").write_text("{}")
    findings = Findings()
    check_files(CheckedStep(tmp_path, {"files": files}, "step", findings))
    actual = {(finding.check, finding.file) for finding in findings.kept()}
    assert actual == {
        ("missing_file", "step/gone"),
        ("extra_file", "step/new"),
        ("wrong_size", "step/sub/longer"),
        ("wrong_checksum", "step/changed"),
    }


def test_parts_of_another_shape_are_absent():
    manifest = {"counts": {"a": 3, "b": True, "c": "3"}, "shards": 5}
    counts = section(manifest, "counts")
    assert [number(counts, name) for name in "abcd"] == [3, None, None, None]
    assert section(manifest, "shards") == section(manifest, "none") == {}
    assert records_of_shard(manifest, "part-00000-of-00001.tfrecord.gz", "records") is None


def test_records_of_a_shard_by_its_name():
    manifest = {"shards": [{"examples": {"ctr": {"test": 4}}}, {"examples": 3}]}
    path = ("examples", "ctr", "test")
    assert records_of_shard(manifest, "part-00000-of-00002.tfrecord.gz", *path) == 4
    assert records_of_shard(manifest, "part-00001-of-00002.tfrecord.gz", *path) is None
    assert records_of_shard(manifest, "part-00000-of-00003.tfrecord.gz", *path) is None
