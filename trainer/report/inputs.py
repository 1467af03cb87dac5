"""What a report is made from."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NotRequired, TypedDict

import tensorflow as tf

from configs import __version__
from configs.scenario import Scenario
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import WorkDirectory
from trainer.experiments.results import CellTuning, Comparison, ExperimentResult
from trainer.inspection import GateWeights
from trainer.metrics import display_name

SERVING_TOLERANCE = 1e-5
"""Served scores may differ from the checkpoint's by less than this."""


class PipelineStep(TypedDict):
    """One step of the job.

    Attributes:
      name: what people call the step.
      seconds: wall time.
      records_in: records read.
      records_out: records handed on.
      dead_letters: records rejected.
      history_only: of records_out, those kept in histories only because the LLM may have seen
        them (leak rule); 0 if absent.
      reused: of records_out, those that were there already and were not made again; 0 if absent.
      skipped: the whole result was there, unchanged, and the step was not repeated; False if
        absent. The counts are then those of the run that made it, the seconds are not.
    """

    name: str
    seconds: float
    records_in: int
    records_out: int
    dead_letters: int
    history_only: NotRequired[int]
    reused: NotRequired[int]
    skipped: NotRequired[bool]


class LeakCheckCounts(TypedDict):
    """Result of the leak check, as the examples manifest has it."""

    users_verified_by_prompt: int
    users_by_rule_only: int
    unverified_sources: Sequence[str]
    declared_sources: NotRequired[Mapping[str, str]]


class LeakReport(TypedDict):
    """What the examples manifest says about the leak rule."""

    leak_violations: int
    leak_check: LeakCheckCounts


@dataclass(frozen=True)
class ReportInputs:
    """Results of an experiment and what is known about how they came about.

    Attributes:
      scenario: the scenario that was run.
      experiment: runs and comparisons.
      training_counts: item id -> training interactions (train part and the history before it); an
        absent item has none.
      titles: item id -> title; an absent item is shown by its id.
      gates: "<backbone>/<arm>" -> mean gate weights of its first seed; absent where the adapter has
        no gates.
      leak: violations and coverage of the leak check.
      served_max_abs_difference: largest absolute difference between checkpoint and served scores,
        or None when nothing was served.
      steps: the steps of the job, in order; none if only the experiment was run.
      command: the command that makes the report again.
      machine: what it ran on.
      versions: of the code and what it computes with.
      made_at: date.
    """

    scenario: Scenario
    experiment: ExperimentResult
    training_counts: Mapping[str, int]
    titles: Mapping[str, str]
    gates: Mapping[str, GateWeights]
    leak: LeakReport
    served_max_abs_difference: float | None
    steps: Sequence[PipelineStep]
    command: str
    machine: str
    versions: str
    made_at: str

    @property
    def baseline(self) -> str:
        """The arm that all others are compared with."""
        return self.experiment.baseline

    @property
    def metric_name(self) -> str:
        """What people call the main metric."""
        return display_name(self.experiment.metric)

    @property
    def backbones(self) -> list[str]:
        """Backbones in the order of the experiment."""
        order = self.scenario.experiment.backbones
        names = dict.fromkeys(run.backbone for run in self.experiment.runs)
        return sorted(names, key=lambda name: order.index(name) if name in order else len(order))

    @property
    def arms(self) -> list[str]:
        """Arms in the order of the experiment, the baseline first."""
        names = dict.fromkeys(run.knowledge for run in self.experiment.runs)
        return sorted(names, key=lambda name: name != self.baseline)

    @property
    def comparisons(self) -> list[Comparison]:
        """Comparisons ordered by backbone, then arm."""
        return sorted(
            self.experiment.comparisons,
            key=lambda item: (self.backbones.index(item.backbone), self.arms.index(item.knowledge)),
        )

    @property
    def shown_metrics(self) -> list[str]:
        """The metrics that tables show, the main one first."""
        return [
            name
            for name in self.experiment.kind.reported_metrics
            if name in self.experiment.runs[0].test
        ]

    @property
    def tuning(self) -> list[CellTuning]:
        """The searches ordered by backbone, then arm; also those of cells that failed later."""
        backbones = self.scenario.experiment.backbones
        return sorted(
            self.experiment.tuning,
            key=lambda one: (backbones.index(one.backbone), one.knowledge != self.baseline),
        )


def leak_report(work_dir: Path) -> LeakReport:
    """What the manifest of a work directory's examples says about the leak rule.

    Raises:
      DamagedRecords: the manifest is missing, or not one of examples.
    """
    directory = WorkDirectory(work_dir).examples
    try:
        counts = directory.read_manifest()["counts"]
        return LeakReport(
            leak_violations=counts["leak_violations"], leak_check=counts["leak_check"]
        )
    except (KeyError, TypeError) as error:
        raise DamagedRecords(
            f"{directory.manifest}: no manifest of examples ({error}); run 'python -m "
            "preprocessing examples' again"
        ) from error


def versions_text() -> str:
    """Versions of the project and what it computes with, "REKI 0.9.0 (commit 1a2b3c4), ...".

    The commit is left out where the code is no Git repository of its own.
    """
    root, commit = Path(__file__).parents[2], ""
    if (root / ".git").exists():
        describe = ["git", "describe", "--always", "--dirty=, with changes", "--exclude=*"]
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            shown = subprocess.run(describe, cwd=root, capture_output=True, text=True, check=True)
            commit = f" (commit {shown.stdout.strip()})"
    versions = []
    for package in ("tensorflow", "tf-keras", "tensorflow-recommenders", "apache-beam", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            versions.append(f"{package} {version(package)}")
    return ", ".join(
        [f"REKI {__version__}{commit}", f"Python {platform.python_version()}", *versions]
    )


def machine_text() -> str:
    """What a result was made on, e.g. "Linux x86_64, 2 cores, CPU only"."""
    devices = len(tf.config.list_physical_devices("GPU"))
    graphics = f"{devices} GPU" if devices else "CPU only"
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {graphics}"
