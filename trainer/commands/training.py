"""The commands that train: `train` one model, `tune` its settings, `experiment` with a grid."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.command_line import (
    CommandError,
    add_dry_run_option,
    add_field_options,
    add_json_option,
    add_scenario_options,
    keys_help,
    say,
    scenario_of,
    set_up_tensorflow,
)
from configs.experiment import Experiment, Tuning
from configs.loading import load_scenario
from trainer.tracking import add_tracking_option

if TYPE_CHECKING:
    from configs.command_line import Subparsers
    from configs.scenario import Scenario
    from trainer.experiments.grid import Cell
    from trainer.tuning import Trial


_TRAIN_HELP = """\
Trains one model on the TFRecords of the scenario's work directory and writes a run folder: the
resolved config.yaml, metrics.json, history.csv (one line per epoch) and the checkpoint of the epoch
with the best validation result. Training stops after training.patience epochs without a better one.
The test part is not read. A training that was interrupted goes on where it was when the command is
given once more. A finished run with other settings is replaced with --force only. Where validation
still rose when training.epochs ended it, a warning says so, also under "warnings" of the JSON.

The kind of model follows from model.backbone, and data.examples must have its examples:
  ranking models (din, dcnv2, ...)     ctr         selected by AUC
  re-rankers (prm, dlcm, ...)          rerank      selected by ndcg_at_10
  retrieval models (two_tower)         retrieval   selected by new_items_recall_at_10

The run folder is run_dir, or <work_dir>/runs/<backbone>_<adapter>[-<source>...][_<match>]
[_<option>...]_seed<seed>, with the options that make another model of it (prior, tasks, ...).

With training.distribution one model is trained on several GPUs or in several processes, each with
this command and TF_CONFIG in its environment (docs/distributed.md).

example:
  python -m trainer train --config configs/movielens_small.yaml \\
      model.backbone=dcnv2 training.seed=2
  python -m preprocessing examples --config configs/movielens_small.yaml \\
      'data.examples=[ctr, rerank, retrieval]' work_dir=out/three_kinds
  python -m trainer train --config configs/movielens_small.yaml \\
      'data.examples=[ctr, rerank, retrieval]' work_dir=out/three_kinds model.backbone=prm
"""


def add_train(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "train",
        help="train one model and write its run folder",
        description=_TRAIN_HELP,
        epilog=keys_help(
            ["run_dir", "work_dir", "data.examples", "model", "knowledge.sources", "training"]
        ),
    )
    add_scenario_options(parser)
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace a finished run of the same name that has other settings",
    )
    add_dry_run_option(parser, "say what would be trained, and whether its data is there")
    add_tracking_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=_train)


def _dry_run(scenario: Scenario, force: bool) -> Mapping[str, object]:
    """Says what would be trained; writes nothing.

    Args:
      scenario: what would be trained.
      force: whether a finished run with other settings would be replaced.

    Raises:
      ConfigurationError: the data is not what the scenario names, or there are no such devices.
      CommandError: there are no examples, the folder holds something else than a run, or a file is
        damaged.
    """
    from preprocessing.records.layout import WorkDirectory
    from trainer.distribution import require_devices
    from trainer.distribution.cluster import cluster_of
    from trainer.evaluation.runs import kind_of
    from trainer.examples import no_examples, require_kind
    from trainer.optimizers import require_steps_after_warmup
    from trainer.run_identity import default_run_folder, require_no_other_run
    from trainer.tables import require_named_inputs
    from trainer.training import require_selection

    training = scenario.training
    cluster = cluster_of(training)
    folder = default_run_folder(scenario)
    if (cluster is None or cluster.is_chief) and not force:
        require_no_other_run(folder, scenario)
    folder.require_replaceable()
    require_named_inputs(scenario)
    require_devices(training)
    kind = kind_of(scenario)
    require_kind(scenario, kind)
    manifest = WorkDirectory(scenario.work_dir).examples.read_manifest()
    samples = manifest["counts"]["examples"].get(kind, {}).get("train", 0)
    if not samples:
        raise no_examples(scenario, "train", kind)
    require_selection(scenario, kind)
    steps = math.ceil(samples / training.batch_size)
    require_steps_after_warmup(training, steps * training.epochs)
    state = "finished" if folder.is_complete else "new"
    if folder.unfinished.exists():
        state = "interrupted"
    say(
        f"would train {folder.path} ({state}): {samples:,} training examples, {steps:,} steps an "
        f"epoch, {training.epochs} epochs at most; knowledge of "
        f"{', '.join(scenario.knowledge_sources()) or 'no source'}"
    )
    return {
        "dry_run": True,
        "run": str(folder.path),
        "state": state,
        "train_examples": samples,
        "steps_per_epoch": steps,
        "epochs": training.epochs,
        "sources": list(scenario.knowledge_sources()),
    }


def _train(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Trains and says what came out."""
    # A mistake in the scenario is told before TensorFlow takes seconds to load.
    scenario = scenario_of(arguments)
    set_up_tensorflow()

    from preprocessing.records.leak_rule import leak_cautions, leak_rule_result, leak_rules
    from trainer.distribution.base import prepare_devices
    from trainer.distribution.cluster import cluster_of
    from trainer.distribution.processes import serve_chief
    from trainer.metrics import summary
    from trainer.run_folder import RunFolder
    from trainer.run_identity import default_run_folder, require_no_other_run
    from trainer.tables import require_knowledge
    from trainer.tracking import tracked_training, tracking_of
    from trainer.training import train
    from trainer.training_loop import still_rises, undertrained_text

    if arguments.dry_run:
        return _dry_run(scenario, arguments.force)
    cluster = cluster_of(scenario.training)
    say(prepare_devices())
    if not scenario.knowledge.answers:
        say("the scenario describes no knowledge (knowledge.answers): trains the baseline")
    if cluster is not None and cluster.is_server:
        serve_chief(cluster, default_run_folder(scenario))
        return {"served": cluster.name}
    is_chief = cluster is None or cluster.is_chief
    require_knowledge(scenario)
    if is_chief and not arguments.force:
        require_no_other_run(default_run_folder(scenario), scenario)
    result = tracked_training(
        scenario,
        tracking_of(arguments.tracking if is_chief else None, scenario.name),
        lambda listeners: train(scenario, on_epoch=listeners),
    )
    rules = leak_rules(scenario)
    warnings: list[str] = []
    if cluster is None or cluster.is_chief:
        say(
            f"{result['run']}: validation {summary(result['validation'])} "
            f"(epoch {result['best_epoch']} of {result['epochs']}, {result['train_seconds']:.0f} s)"
        )
        history = RunFolder(result["run"]).read_history()
        if still_rises(history, result["selection_metric"], scenario.training):
            warnings.append(undertrained_text(scenario.training))
        warnings += leak_cautions(rules)
        for warning in warnings:
            say(f"warning: {warning}")
    else:
        say(f"{cluster.name}: training has ended; the chief at {cluster.chief} says how well")
    reported = (
        *("run", "validation", "epochs", "selection_metric", "best_epoch", "train_seconds"),
        "coverage",
    )
    return {
        **{key: value for key, value in result.items() if key in reported},
        "warnings": warnings,
        "leak_rule": leak_rule_result(rules),
    }


_TUNE_HELP = """\
Searches good settings with Optuna (TPE) on the validation part; the test part is not read. Any key
of the scenario that a training depends on can be searched. Ranges stand among the overrides:

  key=LOW..HIGH          numbers between two bounds       model.dropout_rate=0..0.5
  key=LOW..HIGH/STEP     at a distance from each other    model.embedding_dimension=16..64/16
  key=log:LOW..HIGH      small and large numbers alike    training.learning_rate=log:1e-4..1e-2
  key=choice:A,B,...     values                           training.batch_size=choice:256,512
                                                          'model.top_units=choice:[200,80],[64]'

Without any, experiment.tuning.space is searched. The first trial has the scenario's own settings,
if they lie in the space. Trials are ordinary run folders.

A search that was interrupted goes on when the command is given once more, and ends as an unbroken
one would have; with more --trials it goes on from its end. The folder, by default
<work_dir>/tuning/<name of the model>, then holds:
  best.yaml    the scenario with the best settings, for 'python -m trainer train'
  trials.csv   one line per trial       trials.svg   their results, by number and by setting
  study.db     Optuna's record          trial0001/   run folders

example:
  python -m trainer tune --config configs/movielens_small.yaml --trials 20 \\
      model.match=none model.prior=false 'training.learning_rate=log:1e-4..1e-2' \\
      'model.dropout_rate=0..0.5' 'training.batch_size=choice:256,512,1024'

JSON: study, metric, trials, complete, failed, pruned; best with trial, value, settings and run;
best_config, trials_csv and plot.
"""


def add_tune(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "tune",
        help="search good settings on the validation part",
        description=_TUNE_HELP,
        epilog=keys_help(["experiment.tuning", "model", "training"]),
    )
    add_scenario_options(parser)
    add_field_options(parser, Tuning, ("trials", "seed"), stands_for="experiment.tuning")
    parser.add_argument("--out", metavar="FOLDER", help="folder of the study")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="end trials early that are worse than the median of those before, from the sixth on",
    )
    add_dry_run_option(parser, "check the space and say what would be searched")
    add_tracking_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=_tune)


def _tune(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Searches, and writes what was found."""
    set_up_tensorflow()

    from configs.files import alone_in, require_folder_name
    from configs.loading import ConfigurationError, load_scenario
    from trainer.distribution import require_devices
    from trainer.distribution.base import prepare_devices
    from trainer.distribution.cluster import require_one_process
    from trainer.evaluation.runs import kind_of
    from trainer.examples import ExampleStore, require_kind
    from trainer.experiments.trainers import Job, LocalTrainer
    from trainer.run_identity import default_run_folder
    from trainer.tables import require_named_inputs
    from trainer.tracking import tracking_of
    from trainer.tuning import STUDY_FILE, Study, require_claimable, study_identity
    from trainer.tuning_results import write_results
    from trainer.tuning_space import check_space, require_space_has_effect, split_space

    overrides, space = split_space(arguments.overrides)
    choices = {key: searched.choices or () for key, searched in space.items()}
    scenario = load_scenario(arguments.config, overrides, choices)
    require_one_process(scenario.training, "a search trains each of its models in")
    tuning = scenario.experiment.tuning
    space = space or dict(tuning.space)
    trials = tuning.trials if arguments.trials is None else arguments.trials
    if not trials:
        raise ConfigurationError("say how many trials: --trials N, or experiment.tuning.trials")
    check_space(
        scenario,
        space,
        {
            "run_dir": "every trial has its own",
            "work_dir": "it is the data",
            "training.distribution": "it is where a training runs",
        },
    )
    require_space_has_effect(scenario, space)
    require_named_inputs(scenario)
    if not space.keys() & {"training.devices", "training.batch_size"}:
        require_devices(scenario.training)
    if "model.backbone" not in space:
        require_kind(scenario, kind_of(scenario))
    named = default_run_folder(scenario.model_copy(update={"run_dir": None})).path.name
    folder = Path(arguments.out or Path(scenario.work_dir) / "tuning" / named)
    require_folder_name("--out", folder)
    seed = tuning.seed if arguments.seed is None else arguments.seed
    if arguments.dry_run:
        require_claimable(folder, study_identity(scenario, space, seed))
        state = "goes on with" if (folder / STUDY_FILE).exists() else "would begin"
        say(f"{state} {folder}: {trials} trials over {', '.join(space)}, seed {seed}")
        return {
            "dry_run": True,
            "study": str(folder),
            "trials": trials,
            "space": {key: searched.model_dump(mode="json") for key, searched in space.items()},
            "seed": seed,
        }
    say(prepare_devices())
    tracking = tracking_of(arguments.tracking, scenario.name)
    trainer = LocalTrainer(ExampleStore(), tracking, progress=True)
    with alone_in(folder):
        study = Study(folder, scenario, space, seed, prune=arguments.prune)
        tags = {"study": str(folder)}
        study.run(
            trials,
            lambda trial, on_epoch: trainer.train(Job(trial, tags), on_epoch),
            lambda trial: say(_line(trial, trials)),
        )
        result = write_results(study, scenario, space)
    best = result["best"]
    if best is None:
        raise CommandError("no trial has a result; trials.csv has the reasons", result)
    say(f"best: trial {best['trial']}, validation {result['metric']} {best['value']:.4f}")
    say("\n".join(f"  {key}={value}" for key, value in best["settings"].items()))
    say(f"python -m trainer train --config {result['best_config']}")
    return result


def _line(trial: Trial, trials: int) -> str:
    settings = " ".join(f"{key}={value}" for key, value in trial.settings.items())
    outcome = trial.reason if trial.value is None else f"{trial.value:.4f}"
    return f"[{trial.number}/{trials}] {settings}: {trial.state} {outcome}, {trial.seconds:.0f} s"


_EXPERIMENT_HELP = """\
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


def add_experiment(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "experiment",
        help="train a grid of models and compare them",
        description=_EXPERIMENT_HELP,
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
    parser.set_defaults(run=_experiment)


def _experiment(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Runs the experiment and writes its report."""
    overrides = list(arguments.overrides)
    if arguments.processes is not None:
        overrides.append(f"experiment.processes={arguments.processes}")
    scenario = load_scenario(arguments.config, overrides, for_all_arms=True)
    set_up_tensorflow()

    from configs.files import require_folder_name
    from trainer.experiments.grid import experiment_cells, experiment_folder

    folder = Path(arguments.out) if arguments.out else experiment_folder(scenario)
    require_folder_name("--out", folder)
    if arguments.dry_run:
        return _plan(scenario, folder, experiment_cells(scenario))

    from trainer.distribution.base import prepare_devices
    from trainer.experiments.results import failures_text
    from trainer.experiments.running import run_experiment
    from trainer.report.render import write_experiment_report

    say(prepare_devices())
    result = run_experiment(scenario, folder, tracking=arguments.tracking)
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
