"""`python -m preprocessing inspect`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from configs.command_line import EXIT_CODES_HELP, add_field_options, add_json_option
from configs.section import Section

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Shows what preprocessing wrote or will read: records, schema, counts and statistics. PATH is a work
directory, the folder of a step (examples, knowledge/SOURCE, prompts, groups/SOURCE, links/SOURCE),
a folder of its TFRecord files (examples/rerank, examples/ctr/test), a TFRecord file, a Parquet or
Arrow file, a vocabulary, prompts, answers of any format, dead letters or a manifest; its content
tells which. Ids are shown as they are stored.

examples:
  python -m preprocessing inspect out/movielens_small
  python -m preprocessing inspect out/movielens_small/examples --records 1
  python -m preprocessing inspect examples/movielens_small/answers/item_individual.jsonl.gz
"""


class InspectOptions(Section):
    """How much is looked at."""

    records: int = Field(3, ge=1, description="records to show")
    limit: int = Field(10_000, ge=1, description="records to read for statistics")


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "inspect",
        help="records, schema, counts and statistics, for people",
        description=_HELP,
        epilog=EXIT_CODES_HELP,
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="a file or folder")
    add_field_options(parser, InspectOptions)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Shows and returns the JSON result."""
    from preprocessing.inspection.inspect import inspect_path

    return inspect_path(arguments.path, arguments.records, arguments.limit)
