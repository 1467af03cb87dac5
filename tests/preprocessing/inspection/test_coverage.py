from __future__ import annotations

import pytest

from preprocessing.inspection.example_checks import Coverage, read_known_values
from preprocessing.records.contract import DamagedRecords


def test_shares_by_part():
    coverage = Coverage("item_id", frozenset([b"a", b"b"]))
    assert coverage.add(0, [b"a", b"b", b"a"]) == []
    assert coverage.add(2, [b"a", b"x", b"y"]) == [1, 2]
    assert coverage.shares() == {"train": 1.0, "test": 0.333333}


def test_values_are_read_as_records_hold_them(tmp_path):
    path = tmp_path / "item_id.txt"
    path.write_text("é\nb\n", encoding="utf-8")
    assert read_known_values(path) == {"é".encode(), b"b"}
    with pytest.raises(DamagedRecords):
        read_known_values(tmp_path / "none.txt")
