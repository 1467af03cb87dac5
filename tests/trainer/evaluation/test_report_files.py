from __future__ import annotations

import csv
import json
from pathlib import Path

from tests.trainer.evaluation import synthetic_metrics
from trainer.evaluation.part_metrics import PartMetrics
from trainer.evaluation.plots import write_report


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_report_has_numbers_tables_and_pictures(tmp_path: Path) -> None:
    actual = synthetic_metrics.ctr()
    folder = tmp_path / "new" / "report"
    result = {"test": actual.metrics, "slices": actual.slices}
    write_report(folder, "ctr", actual, result)
    assert files(folder) == {
        *("metrics.json", "slices.csv", "slices.md", "reliability.png", "slices.png")
    }
    assert json.loads((folder / "metrics.json").read_text()) == result
    with (folder / "slices.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["slice"], row["group"]) for row in rows] == [
        (name, group) for name, groups in actual.slices.items() for group in groups
    ]
    assert float(rows[0]["auc"]) == 0.82 and rows[4]["auc"] == ""
    assert rows[4]["reason"] == "all samples have label 1"
    lines = (folder / "slices.md").read_text().splitlines()
    assert len(lines) == 2 + len(rows)
    assert lines[1].startswith("| --- | --- | ---: |") and lines[1].endswith("| --- |")
    assert r"| Drama\|War |" in lines[5]


def test_what_there_is_not_leaves_no_file_of_an_earlier_report(tmp_path: Path) -> None:
    write_report(tmp_path, "ctr", synthetic_metrics.ctr(), {})
    write_report(tmp_path, "retrieval", synthetic_metrics.retrieval(), {})
    assert files(tmp_path) == {"metrics.json", "slices.csv", "slices.md", "slices.png"}
    write_report(tmp_path, "retrieval", PartMetrics({"n": 1}), {})
    assert files(tmp_path) == {"metrics.json"}
