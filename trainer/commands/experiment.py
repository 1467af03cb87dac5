"""The command `python -m trainer experiment`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.command_line import (
    CommandError,
    add_field_options,
    add_json_option,
    add_scenario_options,
    keys_help,
    say,
    set_up_tensorflow,
)
from configs.experiment import Experiment
from configs.loading import load_scenario
from trainer.tracking import add_tracking_option

if TYPE_CHECKING:
    from configs.command_line import Subparsers
    from configs.scenario import Scenario
    from trainer.experiments.grid import Cell

_HELP = """\
Trains a grid of models, backbones x arms x seeds, and compares every arm with the baseline on the
test part. Arms are those of the axes experiment.adapters x matches x extractions, and those written
out under experiment.arms. All models of an experiment are of one kind.

Every cell (backbone and arm) has the same budget: experiment.tuning.trials settings are tried with
the first seed, over one space and from one search seed, and judged on the validation part; the best
one is trained with every seed. With experiment.tune_baseline.trials only the baseline is searched,
and all arms of its backbone have its settings: a baseline that nobody trained well flatters what is
compared with it. The test part is read once per run, at the end.

Whatever is finished is not done again: an experiment that was killed, or in which a run failed,
goes on where it was when the command is given once more. A failed run does not stop the others; the
exit code is 1 then, and the cells concerned are in no table.

Results are in the experiment's folder, <work_dir>/experiments/<name>:
  report/   results.json, results.md (a table with intervals and marks), report.html
  runs/     one run folder per cell and seed        trials/   one study per cell
  logs/     what the processes of --processes print

example (docs/experiments.md has more):
  python -m trainer experiment --config configs/experiments/movielens_small_grid.yaml --processes 2
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "experiment",
        help="train a grid of models and compare them",
        description=_HELP,
        epilog=keys_help(["name", "work_dir", "experiment", "evaluation.bootstrap"]),
    )
    add_scenario_options(parser)
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="folder of the experiment (default <work_dir>/experiments/<name>)",
    )
    add_field_options(parser, Experiment, ("processes",), stands_for="experiment")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check the grid, list its cells and what data is missing, train nothing",
    )
    add_tracking_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Runs the experiment and writes its report."""
    scenario = load_scenario(arguments.config, arguments.overrides, for_all_arms=True)
    set_up_tensorflow()

    from trainer.experiments.grid import experiment_cells, experiment_folder

    folder = Path(arguments.out) if arguments.out else experiment_folder(scenario)
    if arguments.dry_run:
        return _plan(scenario, folder, experiment_cells(scenario))

    from trainer.experiments.results import failures_text
    from trainer.experiments.running import run_experiment
    from trainer.gpu import prepare_devices
    from trainer.report.render import write_experiment_report

    say(prepare_devices())
    result = run_experiment(scenario, folder, arguments.processes, arguments.tracking)
    report = folder / "report"
    command = f"python -m trainer {shlex.join(sys.argv[1:])}"
    written = write_experiment_report(report, scenario, result, command)
    say((report / "results.md").read_text(encoding="utf-8"))
    say(f"report: {report / 'report.html'}")
    summary = {
        "experiment": str(folder),
        "report": str(report / "report.html"),
        "results": str(report / "results.json"),
        "runs": len(result.runs),
        **{key: written[key] for key in ("metric", "comparisons", "failures", "warnings")},
    }
    if result.failures:
        raise CommandError(failures_text(result.failures), summary)
    return summary


def _plan(scenario: Scenario, folder: Path, cells: Sequence[Cell]) -> Mapping[str, object]:
    from trainer.experiments.grid import missing_data

    grid = scenario.experiment
    baselines = len(grid.backbones) if grid.tune_baseline.trials else 0
    trials = len(cells) * grid.tuning.trials + baselines * grid.tune_baseline.trials
    trainings = trials + len(cells) * len(grid.seeds)
    searched = (
        f"{baselines} baselines with {grid.tune_baseline.trials} trials, {len(cells)} cells with"
        if baselines
        else f"{len(cells)} cells, each with {grid.tuning.trials} trials and"
    )
    say(
        f"{folder}: {searched} {len(grid.seeds)} seeds: {trainings} trainings of at most "
        f"{_most_epochs(scenario)} epochs"
    )
    for cell in cells:
        say(f"  {cell.name}")
    missing = missing_data(cells)
    if missing:
        say(f"missing in {scenario.work_dir}: {'; '.join(missing)}")
        say("'python -m preprocessing all' with the same --config builds what is missing")
    return {
        "experiment": str(folder),
        "cells": [cell.name for cell in cells],
        "trainings": trainings,
        "missing": missing,
    }


def _most_epochs(scenario: Scenario) -> int:
    searched = scenario.experiment.tune_baseline.space.get("training.epochs")
    if searched is None or not scenario.experiment.tune_baseline.trials:
        return scenario.training.epochs
    bounds = [searched.high] if searched.choices is None else searched.choices
    return max(scenario.training.epochs, *(int(str(bound).split(".")[0]) for bound in bounds))
