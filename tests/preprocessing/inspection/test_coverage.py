from __future__ import annotations

import pytest

from preprocessing.inspection.example_checks import Coverage
from preprocessing.inspection.findings import CheckedStep, Findings
from preprocessing.records.contract import DamagedRecords


def test_shares_by_part():
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
