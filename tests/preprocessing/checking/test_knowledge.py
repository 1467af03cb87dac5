from __future__ import annotations

import math

import pytest

from preprocessing.checking.findings import Findings
from preprocessing.checking.knowledge import KnowledgeCheck
from preprocessing.inspection.kinds import read_manifest
from tests.preprocessing.work_folder import VECTORS, edit_manifest, write_knowledge_step


def check(folder) -> tuple[dict[str, int], dict[str, int], list[str]]:
    findings = Findings()
    manifest = read_manifest(folder / "manifest.json")
    vectors = KnowledgeCheck(folder, manifest, "knowledge/item", findings).run()
    return vectors, findings.by_check(), [finding.line() for finding in findings.kept()]


def test_sound_vectors(tmp_path):
    vectors, checks, _ = check(write_knowledge_step(tmp_path))
    assert vectors == {"individual": 2, "collective": 1} and checks == {}


@pytest.mark.parametrize(
    ("vector", "expected", "message"),
    [
        (("i4", [0.0, 0.0, 0.0], "individual"), "zero_vector", "all zeros"),
        (("i4", [1.0, math.nan, 0.0], "individual"), "not_finite", "not finite"),
        (("i4", [1.0, math.inf, 0.0], "individual"), "not_finite", "not finite"),
        (("i4", [1.0, 2.0], "individual"), "wrong_width", "of width 2, the others have 3"),
        (("i1", [1.0, 2.0, 3.0], "individual"), "duplicate_entity", "a second vector"),
        (("", [1.0, 2.0, 3.0], "individual"), "empty_id", "'entity_id' is empty"),
    ],
)
def test_unusable_vectors(tmp_path, vector, expected, message):
    _, checks, lines = check(write_knowledge_step(tmp_path, [*VECTORS, vector]))
    assert expected in checks
    assert (
        f"part-00000-of-00001.tfrecord.gz: record 4: {message}" in lines[0] or message in lines[0]
    )


def test_an_unknown_extraction(tmp_path):
    vectors = [("i4", [1.0, 2.0, 3.0], "guessed")]
    _, checks, lines = check(write_knowledge_step(tmp_path, vectors))
    assert checks == {"extraction_mismatch": 1} and "extraction is 'guessed'" in lines[0]


def test_counts_of_the_manifest(tmp_path):
    folder = write_knowledge_step(tmp_path)
    edit_manifest(folder, lambda manifest: manifest["counts"].update(collective_entities=9))
    edit_manifest(folder, lambda manifest: manifest["shards"][0].update(records=4))
    _, checks, lines = check(folder)
    assert checks == {"wrong_record_count": 2}
    assert any("1 collective vectors, the manifest counts 9" in line for line in lines)
    edit_manifest(folder, lambda manifest: manifest.update(encoder={"dimension": 4}))
    assert check(folder)[1]["wrong_width"] == 3
