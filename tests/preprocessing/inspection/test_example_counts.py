from __future__ import annotations

import copy

import pytest

from preprocessing.inspection.example_checks import check_example_counts
from preprocessing.inspection.findings import CheckedStep, Findings


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


def test_counts_that_add_up(tmp_path):
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
def test_counts_that_do_not(tmp_path, path, value, message):
    manifest = copy.deepcopy(GOOD)
    tree = manifest
    for name in path[:-1]:
        tree = tree[name]
    tree[path[-1]] = value
    (found,) = messages(tmp_path, manifest)
    assert message in found
