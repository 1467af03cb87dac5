from __future__ import annotations

import os
from pathlib import Path

from preprocessing.examples import build_examples


def test_a_dry_run_shows_sizes_and_columns(small_scenario, capsys):
    scenario = small_scenario(
        data__catalogue__attributes={"made": {"kind": "numeric", "column": "year"}}
    )
    tables = build_examples(scenario, dry_run=True)["tables"]
    assert tables["data.catalogue"] == {
        "columns": ["item_id", "title", "year"],
        "other_columns": ["genres"],
    }
    assert sorted(tables["data.interactions"]["columns"]) == [
        "item_id", "rating", "timestamp", "user_id",
    ]  # fmt: skip
    shown = capsys.readouterr().err
    assert (
        f"{scenario.data.catalogue.path}: columns item_id, title, year; not read: genres" in shown
    )
    size = sum(
        os.path.getsize(data.path) for data in (scenario.data.interactions, scenario.data.catalogue)
    )
    assert f"reads 2 files, {size / 1000:.1f} kB;" in shown


def test_dry_run_writes_nothing(small_scenario):
    scenario = small_scenario()
    plan = build_examples(scenario, dry_run=True)
    assert plan["dry_run"] and not plan["would_skip"]
    assert plan["inputs"][scenario.data.interactions.path] == os.path.getsize(
        scenario.data.interactions.path
    )
    assert not Path(scenario.work_dir).exists()
    build_examples(scenario)
    assert build_examples(scenario, dry_run=True)["would_skip"]
