from __future__ import annotations

from preprocessing.inspection.findings import REBUILD, Findings, Severity


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
