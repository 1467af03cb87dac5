from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from preprocessing.inspection.findings import CheckedStep, Findings
from preprocessing.inspection.folder_checks import KnowledgeCheck, check_groups, check_prompts
from preprocessing.inspection.inspect import read_manifest
from tests.preprocessing.work_folder import (
    VECTORS,
    Vector,
    edit_manifest,
    write_knowledge_step,
)


def check(folder) -> tuple[dict[str, int], dict[str, int], list[str]]:
    findings = Findings()
    manifest = read_manifest(folder / "manifest.json")
    vectors = KnowledgeCheck(CheckedStep(folder, manifest, "knowledge/item", findings)).run()
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


def cross_fitted(work: Path, fold_vectors: list[Vector]) -> Path:
    """The vectors of `item`, and those of all ten folds; fold 6 has vectors of its own."""
    folder = write_knowledge_step(work)
    for fold in range(10):
        vectors = fold_vectors if fold == 6 else VECTORS[:2]
        source = write_knowledge_step(work / f"fold{fold}", vectors)
        target = folder / f"without_fold_{fold}"
        target.mkdir()
        shutil.copy(source / "part-00000-of-00001.tfrecord.gz", target)
    edit_manifest(
        folder,
        lambda manifest: manifest.update(
            folds=[{"fold": fold, "shards": [{"shard": 0, "records": 2}]} for fold in range(10)]
        ),
    )
    return folder


def test_sound_vectors_of_folds(tmp_path):
    vectors, checks, _ = check(cross_fitted(tmp_path, VECTORS[1:]))
    assert vectors == {"individual": 2, "collective": 1} and checks == {}


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        ([*VECTORS[:1], ("i9", [1.0, 2.0, 3.0], "individual")], "unknown_entity"),
        ([VECTORS[0], VECTORS[0]], "duplicate_entity"),
        ([VECTORS[0], ("i2", [0.0, 0.0, 0.0], "individual")], "zero_vector"),
        ([VECTORS[0]], "wrong_record_count"),
        ([VECTORS[0], ("i2", [1.0, 2.0], "individual")], "wrong_width"),
    ],
)
def test_unusable_vectors_of_a_fold(tmp_path, vectors, expected):
    _, checks, lines = check(cross_fitted(tmp_path, vectors))
    assert checks == {expected: 1}
    assert "knowledge/item/without_fold_6" in lines[0]


def test_a_missing_fold(tmp_path):
    folder = cross_fitted(tmp_path, VECTORS[:2])
    shutil.rmtree(folder / "without_fold_0")
    _, checks, lines = check(folder)
    assert checks == {"incomplete_shards": 1} and "without_fold_0" in lines[0]


def prompt(number: int) -> str:
    return json.dumps(
        {
            "custom_id": f"item/{number}",
            "source": "item",
            "entity_id": str(number),
            "extraction": "individual",
            "prompt": f"What is {number}?",
        }
    )


def test_prompts_are_read_and_counted(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(prompt(number) for number in range(5)) + "\n")
    findings = Findings()
    manifest = {"written": [{"prompts": 2}, {"prompts": 3}]}
    assert check_prompts(path, manifest, "p", findings) == {"prompts": 5}
    assert findings.by_check() == {}
    check_prompts(path, {"written": [{"prompts": 4}]}, "p", findings)
    assert findings.by_check() == {"wrong_record_count": 1}
    check_prompts(path, {"written": "many"}, "p", findings)
    assert findings.by_check() == {"wrong_record_count": 1}


@pytest.mark.parametrize(
    ("text", "checks"),
    [
        ("user_id,group_id\nu1,g1\nu2,g2\n", {}),
        ('user_id,group_id\n"a,b",g1\n', {}),
        ("user_id,group_id\nu1,g1\nu1,g1\n", {"duplicate_entity": 1}),
        ("user_id,group_id\nu1\n,g1\nu1,\n", {"empty_id": 3}),
        ("user_id\nu1\n", {"wrong_columns": 1}),
        ("", {"wrong_columns": 1}),
    ],
)
def test_groups_are_read_and_checked(tmp_path, text, checks):
    path = tmp_path / "groups.csv"
    path.write_text(text)
    findings = Findings()
    check_groups(path, {}, "g", findings)
    assert findings.by_check() == checks


def test_groups_are_counted(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text("item_id,group_id\ni1,g1\ni2,g1\ni3,g2\n")
    findings = Findings()
    good = {"counts": {"grouped": 3}, "groups": {"number": 2}}
    assert check_groups(path, good, "g", findings) == {"entities": 3, "groups": 2}
    assert findings.by_check() == {}
    check_groups(path, {"counts": {"grouped": 4}, "groups": {"number": 3}}, "g", findings)
    messages = [finding.message for finding in findings.kept()]
    assert messages == [
        "has 3 entities, the manifest counts 4",
        "has 2 groups, the manifest counts 3",
    ]
