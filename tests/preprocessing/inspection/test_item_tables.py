from __future__ import annotations

import pytest

from preprocessing.inspection.example_checks import check_item_attributes, check_vocabularies
from preprocessing.inspection.findings import CheckedStep, Findings
from preprocessing.inspection.inspect import read_manifest


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
