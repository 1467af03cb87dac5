"""The command `python -m trainer train`."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from configs.command_line import (
    add_dry_run_option,
    add_json_option,
    add_scenario_options,
    keys_help,
    say,
    scenario_of,
    set_up_tensorflow,
)
from trainer.tracking import add_tracking_option

if TYPE_CHECKING:
    from configs.command_line import Subparsers
    from configs.scenario import Scenario

_HELP = """\
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


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "train",
        help="train one model and write its run folder",
        description=_HELP,
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
    parser.set_defaults(run=run)


def _dry_run(scenario: Scenario) -> Mapping[str, object]:
    """Says what would be trained; writes nothing.

    Raises:
      ConfigurationError: the data is not what the scenario names; likewise DamagedRecords.
    """
    from preprocessing.records.layout import WorkDirectory
    from trainer.evaluation.runs import kind_of
    from trainer.run_identity import default_run_folder, require_no_other_run
    from trainer.tables import require_named_inputs

    require_named_inputs(scenario)
    folder = default_run_folder(scenario)
    folder.require_replaceable()
    require_no_other_run(folder, scenario)
    manifest = json.loads(
        WorkDirectory(scenario.work_dir).examples.manifest.read_text(encoding="utf-8")
    )
    samples = manifest["counts"]["examples"].get(kind_of(scenario), {}).get("train", 0)
    training = scenario.training
    steps = math.ceil(samples / training.batch_size)
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


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Trains and says what came out."""
    # A mistake in the scenario is told before TensorFlow takes seconds to load.
    scenario = scenario_of(arguments)
    set_up_tensorflow()

    from preprocessing.records.leak_rule import leak_cautions, leak_rule_result, leak_rules
    from trainer.distribution.cluster import cluster_of
    from trainer.distribution.parameter_servers import serve_chief
    from trainer.gpu import prepare_devices
    from trainer.metrics import summary
    from trainer.run_folder import RunFolder
    from trainer.run_identity import default_run_folder, require_no_other_run
    from trainer.tables import require_knowledge
    from trainer.tracking import tracked_training, tracking_of
    from trainer.training import train
    from trainer.training_loop import still_rises, undertrained_text

    if arguments.dry_run:
        return _dry_run(scenario)
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
