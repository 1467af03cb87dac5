"""The command `python -m serving export`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from configs.command_line import add_json_option, quiet_tensorflow, say

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Writes the model of a finished run as the next version of a SavedModel: BASE/1, BASE/2, ...
Knowledge vectors and the hybridized expert-integrated network are replaced by tables of augmented
vectors, so a request costs lookups only and carries raw ids.

signatures:
  serving_default    one row per candidate
  rank               one user and any number of candidates; the user's side is computed once
  predict_examples, classify, regress
                     serialized tf.Example, for TensorFlow Serving's Predict, Classify and Regress
                     APIs

example:
  python -m serving export out/movielens_small/runs/din_hein-item_ridge_seed1 --out out/export
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "export", help="run folder to SavedModel version", description=_HELP
    )
    parser.add_argument("folder", metavar="RUN", help="run folder of a trained model")
    parser.add_argument(
        "--out", required=True, metavar="BASE", help="model base path for the versions"
    )
    parser.add_argument(
        "--augmented-dtype",
        choices=("float32", "float16"),
        help="number format of the augmented vectors (default: the run's serving.augmented_dtype); "
        "float16 halves the tables and moves scores by less than 1e-3",
    )
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Exports and says where."""
    quiet_tensorflow()
    from serving.export import export_run

    result = export_run(arguments.folder, arguments.out, arguments.augmented_dtype)
    say(
        f"{result['path']}: version {result['version']}, "
        f"signatures {', '.join(result['signatures'])}"
    )
    return dict(result)
