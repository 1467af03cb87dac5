"""The command `python -m serving export`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from configs.command_line import add_json_option, positive_integer, quiet_tensorflow, say
from serving.export_options import DEFAULT_CARD_ROWS, DEFAULT_PROOF_SAMPLES, ExportOptions

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Writes the model of a finished run as the next version of a SavedModel: BASE/1, BASE/2, ...
Knowledge vectors and the adapter trained over them are replaced by tables of augmented vectors,
which a request looks up; knowledge match, where the model has it, is computed for every request. A
request carries raw ids and numbers, and what is known of the user's profile where the model reads
one.

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
    run_folder = parser.add_mutually_exclusive_group(required=True)
    run_folder.add_argument(
        "folder", nargs="?", metavar="RUN", help="run folder of a trained model"
    )
    run_folder.add_argument("--run", dest="folder_option", metavar="RUN", help="the same")
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
    parser.add_argument(
        "--proof",
        choices=("full", "quick", "none"),
        default="full",
        help="ask the export on every way to load it before it is published; quick: as a "
        "SavedModel in Python and through TensorFlow's C API only (default full)",
    )
    parser.add_argument(
        "--proof-samples",
        type=positive_integer,
        default=DEFAULT_PROOF_SAMPLES,
        metavar="N",
        help="validation examples that are asked (default %(default)s)",
    )
    parser.add_argument(
        "--card-part",
        choices=("validation", "test"),
        default="validation",
        help="part that the model card's metrics are of; test is to be read once, for the final "
        "model (default validation)",
    )
    parser.add_argument(
        "--card-rows",
        type=positive_integer,
        default=DEFAULT_CARD_ROWS,
        metavar="N",
        help="samples that these metrics are made from, at most (default %(default)s)",
    )
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Exports and says where."""
    quiet_tensorflow()
    from serving.export import export_run

    options = ExportOptions(
        augmented_dtype=arguments.augmented_dtype,
        id_type=arguments.id_type,
        proof=arguments.proof,
        proof_samples=arguments.proof_samples,
        card_part=arguments.card_part,
        card_rows=arguments.card_rows,
    )
    result = export_run(arguments.folder or arguments.folder_option, arguments.out, options)
    say(
        f"{result['path']}: version {result['version']}, "
        f"signatures {', '.join(result['signatures'])}"
    )
    return {name: result[name] for name in ("path", "version", "signatures", "leak_rule")}
