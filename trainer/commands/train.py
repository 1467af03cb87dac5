"""The command `python -m trainer train`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from configs.command_line import add_json_option, add_scenario_options, keys_help, say, scenario_of

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Trains one model on the TFRecords of the scenario's work directory and writes a run folder: the
resolved config.yaml, metrics.json, history.csv (one line per epoch) and the checkpoint of the epoch
with the best validation AUC. Training stops after training.patience epochs without a better one.
The test part is not read.

The run folder is run_dir, or <work_dir>/runs/<backbone>_<adapter>[_<match>]_seed<seed>.

example:
  python -m trainer train --config configs/movielens_small.yaml \\
      model.backbone=dcnv2 model.match=ridge training.seed=2
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "train",
        help="train one model and write its run folder",
        description=_HELP,
        epilog=keys_help(["run_dir", "work_dir", "model", "knowledge.sources", "training"]),
    )
    add_scenario_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Trains and says what came out."""
    from trainer.training import train

    result = train(scenario_of(arguments))
    validation = result["validation"]
    say(
        f"{result['run']}: validation AUC {validation['auc']:.4f}, "
        f"LogLoss {validation['logloss']:.4f}, "
        f"GAUC {validation['gauc']:.4f} (epoch {result['best_epoch']} of {result['epochs']}, "
        f"{result['train_seconds']:.0f} s)"
    )
    reported = ("run", "validation", "epochs", "best_epoch", "train_seconds")
    return {key: value for key, value in result.items() if key in reported}
