"""The command `python -m trainer evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from configs.command_line import add_json_option, say

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Scores one part of the data with a finished run and prints its metrics:
  auc      area under the ROC curve over all samples, exact
  logloss  mean negative log likelihood, in nats
  gauc     mean of the users' own AUCs, weighted by their samples; users of one class are left out

Choose between models on the validation part; read the test part once, at the end.

example:
  python -m trainer evaluate out/movielens_small/runs/din_hein-item-user_seed1 --part test \\
      --predictions scores.parquet
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser("evaluate", help="metrics of a finished run", description=_HELP)
    parser.add_argument("folder", metavar="RUN", help="a run folder")
    parser.add_argument("--part", choices=("train", "validation", "test"), default="test")
    parser.add_argument(
        "--predictions",
        metavar="FILE.parquet",
        help="also write user_id, item_id, label and score of every sample",
    )
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Evaluates and prints the metrics."""
    from trainer.evaluation import predict_run

    predictions = predict_run(arguments.folder, arguments.part)
    if arguments.predictions:
        predictions.write(Path(arguments.predictions))
    metrics = predictions.metrics()
    say(
        f"{arguments.folder}, {arguments.part}: AUC {metrics['auc']:.4f}, "
        f"LogLoss {metrics['logloss']:.4f}, GAUC {metrics['gauc']:.4f}, {metrics['n']} samples"
    )
    return {arguments.part: metrics}
