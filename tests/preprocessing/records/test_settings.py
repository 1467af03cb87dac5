from __future__ import annotations

import json
from pathlib import Path

import pytest

from preprocessing.records.errors import DamagedRecords
from preprocessing.records.layout import StepDirectory
from preprocessing.records.settings import (
    examples_settings,
    knowledge_settings,
    read_settings,
)


def test_examples_depend_on_labels_histories_and_split(small_scenario):
    first = examples_settings(small_scenario())
    other = examples_settings(
        small_scenario(data__positive_rating=2, split__by="user", training__seed=9, work_dir="x")
    )
    assert {key: (first[key], other[key]) for key in first if first[key] != other[key]} == {
        "data.positive_rating": (4.0, 2.0),
        "split.by": ("time", "user"),
    }
    assert first.keys() == other.keys()


def test_knowledge_depends_on_encoder_and_answers_but_not_on_where_they_lie(small_scenario):
    first = knowledge_settings(small_scenario(), "item")
    moved = small_scenario(
        knowledge__answers__item__individual=["elsewhere.jsonl"],
        knowledge__answers__item__groups="elsewhere.csv",
        knowledge__shards=7,
    )
    assert knowledge_settings(moved, "item") == first
    other = knowledge_settings(
        small_scenario(
            knowledge__encoder__seed=3,
            knowledge__answers__item__collective=[],
            knowledge__answers__item__groups=None,
            knowledge__answers__item__individual=["a", "b"],
        ),
        "item",
    )
    assert {key: (first[key], other[key]) for key in first if first[key] != other[key]} == {
        "knowledge.encoder.seed": (0, 3),
        "knowledge.answers.item.individual": ("1 file", "2 files"),
        "knowledge.answers.item.collective": ("1 file", "no file"),
        "knowledge.answers.item.groups": ("1 file", "no file"),
    }


def test_settings_are_read_from_the_manifest(tmp_path: Path):
    directory = StepDirectory(tmp_path)
    directory.manifest.write_text(json.dumps({"settings": {"split.by": "user"}, "counts": {}}))
    assert read_settings(directory) == {"split.by": "user"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "manifest.json: No such file.*run 'python -m preprocessing all' first"),
        ("{", "manifest.json: not a manifest .*run 'python -m preprocessing all' again"),
        ("[]", "manifest.json: does not say which settings"),
        ('{"settings": 3}', "manifest.json: does not say which settings"),
        ('{"counts": {}}', "manifest.json: does not say which settings"),
    ],
)
def test_a_manifest_without_settings_is_explained(
    tmp_path: Path, content: str | None, problem: str
):
    directory = StepDirectory(tmp_path)
    if content is not None:
        directory.manifest.write_text(content)
    with pytest.raises(DamagedRecords, match=problem):
        read_settings(directory)
