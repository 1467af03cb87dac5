"""The command `python -m trainer compare`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from configs.command_line import add_json_option, positive_integer, say

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Compares two models on the same samples: the difference of their AUCs with a 95 % interval from a
paired bootstrap over users. A model may have several runs (seeds), joined by commas; its AUC is
their mean.

example:
  python -m trainer compare runs/din_none_seed1,runs/din_none_seed2 \\
      runs/din_hein-item-user_seed1,runs/din_hein-item-user_seed2
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "compare", help="difference of two models with an interval", description=_HELP
    )
    parser.add_argument(
        "baseline", metavar="A", help="run folder(s) of the baseline, joined by commas"
    )
    parser.add_argument(
        "candidate", metavar="B", help="run folder(s) of the candidate, joined by commas"
    )
    parser.add_argument("--part", choices=("train", "validation", "test"), default="test")
    parser.add_argument(
        "--resamples",
        type=positive_integer,
        default=1000,
        help="bootstrap resamples (default 1000)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default 0)")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Evaluates all runs and prints the difference."""
    from trainer.evaluation import compare_predictions, predict_run
    from trainer.preparation import ExampleStore

    store = ExampleStore()
    baseline, candidate = (
        [predict_run(folder, arguments.part, store) for folder in side.split(",")]
        for side in (arguments.baseline, arguments.candidate)
    )
    difference = compare_predictions(
        baseline, candidate, resamples=arguments.resamples, seed=arguments.seed
    )
    say(
        f"{arguments.part}: AUC {difference.auc_baseline:.4f} -> {difference.auc_candidate:.4f}, "
        f"difference {difference.difference:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}], "
        f"relative {100 * difference.relative_lift:+.2f} %"
    )
    return {
        "part": arguments.part,
        "auc_a": difference.auc_baseline,
        "auc_b": difference.auc_candidate,
        "auc_difference": difference.difference,
        "ci_low": difference.low,
        "ci_high": difference.high,
        "relative_lift": difference.relative_lift,
        "n": len(baseline[0].labels),
        "runs_a": len(baseline),
        "runs_b": len(candidate),
    }
