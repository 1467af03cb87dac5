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
Knowledge vectors and the adapter trained over them are replaced by tables of augmented vectors, so
a request costs lookups only. It carries raw ids and numbers, and what is known of the user's
profile where the model reads one.

signatures of ranking models:
  serving_default    one row per candidate
  rank               one user and any number of candidates; the user's side is computed once
  predict_examples, classify, regress
                     serialized tf.Example, for TensorFlow Serving's Predict, Classify and Regress
                     APIs
  Models of several tasks have an output score_<task> for each beside score.

of re-rankers, whose candidates are scored in each other's presence:
  serving_default    users and a list of candidates for each, completed by "", whose score is 0
  rank               one user and one list
  predict_examples   serialized tf.Example with a list of candidates

of retrieval models:
  serving_default, top_k
                     users to the 100 best of all items that are not in their history
  user_vectors, item_vectors
                     what the search multiplies, for an index of your own

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
        choices=("float32", "float16", "int8"),
        help="number format of the stored vectors (default: the run's serving.augmented_dtype)",
    )
    parser.add_argument(
        "--id-type",
        choices=("string", "int64"),
        help="how requests write users and items (default: the run's serving.id_type); padding is "
        "'' or -1",
    )
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Exports and says where."""
    quiet_tensorflow()
    from serving.export import export_run

    result = export_run(
        arguments.folder, arguments.out, arguments.augmented_dtype, arguments.id_type
    )
    say(
        f"{result['path']}: version {result['version']}, "
        f"signatures {', '.join(result['signatures'])}"
    )
    return dict(result)
