from __future__ import annotations

from preprocessing.checking.findings import Findings
from preprocessing.checking.leaks import check_leak_counts


def lines(tmp_path, counts: object) -> list[str]:
    findings = Findings()
    check_leak_counts(tmp_path, {"counts": counts}, "examples", findings)
    return [finding.line() for finding in findings.kept()]


def test_no_violation_and_no_unverified_source(tmp_path):
    assert lines(tmp_path, {"leak_violations": 0, "leak_check": {"unverified_sources": []}}) == []


def test_violations_are_errors_and_unverified_sources_notes(tmp_path):
    counts = {"leak_violations": 3, "leak_check": {"unverified_sources": ["item"]}}
    error, note = lines(tmp_path, counts)
    assert "3 samples were shown to the LLM; set split.knowledge_history_cap" in error
    assert note.startswith("note: examples/manifest.json: source 'item': nothing shows")
    (missing,) = lines(tmp_path, {})
    assert "counts no 'leak_violations'" in missing
