from __future__ import annotations

import os
from pathlib import Path

import pytest

from preprocessing.encode import encode
from preprocessing.knowledge import building
from preprocessing.records.layout import WorkDirectory
from tests.preprocessing.small_data import ANSWERS, write_lines


def test_a_finished_source_is_skipped_until_something_changes(small_scenario, small_folder):
    assert not encode(small_scenario())["skipped"]
    assert encode(small_scenario())["skipped"]
    assert encode(small_scenario(split__seed=4))["skipped"]
    assert not encode(small_scenario(), force=True)["skipped"]
    assert not encode(small_scenario(knowledge__encoder__seed=4))["skipped"]
    write_lines(small_folder / "answers.jsonl", ANSWERS[:2])
    assert not encode(small_scenario(knowledge__encoder__seed=4))["skipped"]


def test_an_interrupted_run_leaves_the_old_result(small_scenario, monkeypatch):
    scenario = small_scenario()
    encode(scenario)
    directory = WorkDirectory(scenario.work_dir).knowledge("item")
    before = directory.manifest.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(building, "merge_runs", fail)
        with pytest.raises(OSError, match="disk full"):
            encode(scenario, force=True)
    assert os.listdir(directory.path.parent) == ["item"]
    assert directory.manifest.read_bytes() == before


def test_dry_run_writes_nothing(small_scenario):
    scenario = small_scenario()
    plan = encode(scenario, dry_run=True)
    assert [source["would_skip"] for source in plan["sources"]] == [False]
    assert not Path(scenario.work_dir).exists()
