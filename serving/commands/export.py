"""The command `python -m serving export`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from configs.command_line import (
    add_dry_run_option,
    add_field_options,
    add_json_option,
    say,
    section_of,
    set_up_tensorflow,
)
from configs.serving import Serving
from serving.options import ExportOptions

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
  python -m serving export RUN --out out/export
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
    add_field_options(
        parser, Serving, ("augmented_dtype", "id_type"), stands_for="the run's serving"
    )
    add_field_options(parser, ExportOptions, ("proof", "proof_samples", "card_part", "card_rows"))
    add_dry_run_option(parser, "load the run, and say which version would be written")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Exports and says where."""
    set_up_tensorflow()
    from serving.export import describe_export, export_run

    options = section_of(arguments, ExportOptions)
    run_folder = arguments.folder or arguments.folder_option
    if arguments.dry_run:
        described = describe_export(run_folder, arguments.out, options)
        say(
            f"would write {described['path']}: version {described['version']}, signatures "
            f"{', '.join(described['signatures'])}"
        )
        return {"dry_run": True, **described}
    result = export_run(run_folder, arguments.out, options)
    say(
        f"{result['path']}: version {result['version']}, "
        f"signatures {', '.join(result['signatures'])}"
    )
    return {name: result[name] for name in ("path", "version", "signatures", "leak_rule")}
