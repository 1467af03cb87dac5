from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.report.synthetic import helpful_report, tuned_report
from trainer.inspection import GateWeights
from trainer.report import write_report


def test_three_files_are_written_and_the_results_returned(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "report"
    results = write_report(folder, helpful_report())
    assert sorted(path.name for path in folder.iterdir()) == [
        "report.html",
        "results.json",
        "results.md",
    ]
    assert json.loads((folder / "results.json").read_text(encoding="utf-8")) == results
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")


def test_the_markdown_has_summary_main_table_and_slices(tmp_path: Path) -> None:
    write_report(tmp_path, helpful_report())
    summary, main, note, *warnings, slices = (
        (tmp_path / "results.md").read_text(encoding="utf-8").strip().split("\n\n")
    )
    assert summary.startswith("Knowledge used as ")
    assert main.startswith("| Backbone | Knowledge | AUC | LogLoss | GAUC |")
    assert len(main.splitlines()) == 2 + 6
    assert note.startswith("p: two-sided, of a paired bootstrap over test users")
    assert all(warning.startswith("Warning: ") for warning in warnings)
    assert len(slices.splitlines()) == 2 + 4 * 5


def test_chosen_settings_stand_between_results_and_slices(tmp_path: Path) -> None:
    write_report(tmp_path, tuned_report())
    settings = (tmp_path / "results.md").read_text(encoding="utf-8").strip().split("\n\n")[-2]
    assert settings.startswith("| Backbone | Knowledge | training.learning_rate |")
    assert len(settings.splitlines()) == 2 + 6


def test_writing_again_replaces_the_files(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("old", encoding="utf-8")
    first = write_report(tmp_path, helpful_report())
    page = (tmp_path / "report.html").read_bytes()
    assert write_report(tmp_path, helpful_report()) == first
    assert (tmp_path / "report.html").read_bytes() == page


def test_a_figure_that_is_not_finite_leaves_the_old_report_alone(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("old", encoding="utf-8")
    broken = replace(
        helpful_report(),
        gates={"din/hein": GateWeights(1, 2, {"item": np.array([np.nan, 1.0])})},
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report(tmp_path, broken)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert (tmp_path / "results.json").read_text(encoding="utf-8") == "old"
