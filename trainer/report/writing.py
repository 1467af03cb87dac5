"""Writes the files of a report, also anew for an experiment of the past."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import tensorflow as tf

from configs.scenario import Scenario
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import WorkDirectory
from trainer.experiments.results import ExperimentResult
from trainer.inspection import mean_gates, training_counts
from trainer.report.cells import result_cells
from trainer.report.inputs import LeakReport, ReportInputs
from trainer.report.page import page_html
from trainer.report.protocol import ordered_tuning, settings_table
from trainer.report.results import results_document
from trainer.report.table import as_markdown, main_table, marks_note, popularity_slices, slice_table
from trainer.report.wording import summary_text

RESULTS_FILE = "results.json"
TABLE_FILE = "results.md"
PAGE_FILE = "report.html"


def write_report(folder: Path, report: ReportInputs) -> dict[str, Any]:
    """Writes report.html, results.md and results.json, each at once, results.json last.

    Args:
      folder: created if it does not exist.
      report: what the report is made from.

    Returns:
      The content of results.json.

    Raises:
      ValueError: a figure is not a finite number; no file is written then.
      OSError: the folder cannot be written.
    """
    cells = result_cells(report)
    slices = popularity_slices(report)
    results = results_document(report, cells, slices)
    results_text = json.dumps(results, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    tuning = ordered_tuning(report)
    table_text = "\n".join(
        [
            summary_text(report, slices) + "\n",
            as_markdown(main_table(cells)),
            *([marks_note(report) + "\n"] if report.comparisons else []),
            *(f"Warning: {text}\n" for text in results["warnings"]),
            *([as_markdown(settings_table(tuning))] if tuning else []),
            *([as_markdown(slice_table(slices))] if slices else []),
        ]
    )
    page_text = page_html(report, cells, slices)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        (PAGE_FILE, page_text),
        (TABLE_FILE, table_text),
        (RESULTS_FILE, results_text),
    ):
        unfinished = folder / f".{name}.unfinished"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(folder / name)
    return results


def write_experiment_report(
    folder: Path, scenario: Scenario, experiment: ExperimentResult, command: str
) -> dict[str, Any]:
    """Writes report.html, results.md and results.json.

    Args:
      folder: created if it does not exist.
      scenario: that was run.
      experiment: its results.
      command: that does the same again, only said in the report.

    Returns:
      The content of results.json.
    """
    inputs = ReportInputs(
        scenario=scenario,
        experiment=experiment,
        training_counts=training_counts(scenario),
        gates=mean_gates(experiment),
        leak=leak_report(Path(scenario.work_dir)),
        served_max_abs_difference=None,
        steps=[],
        command=command,
        machine=machine_text(),
        made_at=date.today().isoformat(),
    )
    return write_report(folder, inputs)


def leak_report(work_dir: Path) -> LeakReport:
    """What the manifest of a work directory's examples says about the leak rule.

    Raises:
      DamagedRecords: the manifest is not one of examples.
    """
    path = WorkDirectory(work_dir).examples.manifest
    try:
        counts = json.loads(path.read_text(encoding="utf-8"))["counts"]
        return LeakReport(
            leak_violations=counts["leak_violations"], leak_check=counts["leak_check"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedRecords(
            f"{path}: no manifest of examples ({error}); run 'python -m preprocessing examples' "
            "again"
        ) from error


def machine_text() -> str:
    """What a result was made on, e.g. "Linux x86_64, 2 cores, CPU only"."""
    devices = len(tf.config.list_physical_devices("GPU"))
    graphics = f"{devices} GPU" if devices else "CPU only"
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {graphics}"
