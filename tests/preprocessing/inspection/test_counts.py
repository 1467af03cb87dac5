from __future__ import annotations

import json

import pytest

from preprocessing.inspection.findings import (
    CheckedStep,
    CountMismatch,
    Findings,
    check_counts,
    require_equal,
)

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
    (found,) = messages(tmp_path, {**GOOD, **change})
    assert message in found


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
