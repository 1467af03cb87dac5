"""The command `python -m trainer compare`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from configs.command_line import add_json_option, positive_integer, say
from trainer.commands.evaluate import add_part_option

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Compares two models of one kind on the same examples: differences with a 95 % interval from a paired
bootstrap over users. A model may have several runs (seeds), joined by commas; its metric is their
mean.
  ranking models     auc
  re-rankers         auc over all candidates, and ndcg_at_10, the mean over lists
  retrieval models   new_items_recall_at_10, among all items but those of the history

example:
  python -m trainer compare runs/din_none_seed1,runs/din_none_seed2 \\
      runs/din_hein-item-user_seed1,runs/din_hein-item-user_seed2

JSON: n examples, runs_a and runs_b; <metric>_a, <metric>_b and <metric>_difference of every metric;
ci_low, ci_high and relative_lift of the first one, <metric>_ci_low and so on of the second.
relative_lift is null where model A has 0.
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "compare", help="difference of two models with an interval", description=_HELP
    )
    parser.add_argument(
        "baseline",
        type=_folders,
        metavar="A",
        help="run folder(s) of the baseline, joined by commas",
    )
    parser.add_argument(
        "candidate",
        type=_folders,
        metavar="B",
        help="run folder(s) of the candidate, joined by commas",
    )
    add_part_option(parser)
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
    """Evaluates all runs and prints the differences."""
    from trainer.evaluation import predict_run, require_one_kind
    from trainer.metric_names import people_call
    from trainer.predictions import compare_predictions
    from trainer.preparation import ExampleStore

    folders = [arguments.baseline, arguments.candidate]
    require_one_kind([folder for side in folders for folder in side])
    store = ExampleStore()
    baseline, candidate = (
        [predict_run(folder, arguments.part, store) for folder in side] for side in folders
    )
    differences = compare_predictions(
        baseline, candidate, resamples=arguments.resamples, seed=arguments.seed
    )
    result: dict[str, object] = {"part": arguments.part}
    for metric, found in differences.items():
        lift = None if math.isnan(found.relative_lift) else found.relative_lift
        say(
            f"{arguments.part}: {people_call(metric)} {found.baseline:.4f} -> "
            f"{found.candidate:.4f}, difference {found.difference:+.4f} "
            f"[{found.low:+.4f}, {found.high:+.4f}]"
            + ("" if lift is None else f", relative {100 * lift:+.2f} %")
        )
        prefix = "" if len(result) == 1 else f"{metric}_"
        result |= {
            f"{metric}_a": found.baseline,
            f"{metric}_b": found.candidate,
            f"{metric}_difference": found.difference,
            f"{prefix}ci_low": found.low,
            f"{prefix}ci_high": found.high,
            f"{prefix}relative_lift": lift,
        }
    return result | {
        "n": baseline[0].count,
        "runs_a": len(baseline),
        "runs_b": len(candidate),
    }


def _folders(text: str) -> list[str]:
    folders = text.split(",")
    if not all(folder.strip() for folder in folders):
        raise argparse.ArgumentTypeError(
            f"expected run folders joined by commas, without spaces. Received: {text!r}, where a "
            "name is empty"
        )
    return folders
