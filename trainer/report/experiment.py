"""The report of an experiment on a work directory that was there before."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import tensorflow as tf

from configs.scenario import Scenario
from preprocessing.records.errors import DamagedRecords
from preprocessing.records.layout import WorkDirectory
from trainer.experiments.results import ExperimentResult
from trainer.inspection import mean_gates, training_counts
from trainer.report.inputs import LeakReport, ReportInputs
from trainer.report.writing import write_report


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
