"""`python -m preprocessing validate`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from configs.command_line import EXIT_CODES_HELP, add_json_option
from preprocessing.commands.answer_options import add_answer_options, formats_help
from preprocessing.commands.quality_options import add_quality_options, quality_help, thresholds_of

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Checks answer files as `import` would, writes nothing, and prints how many answers would be
rejected, why, with examples, and how long the others are.

examples:
  python -m preprocessing validate examples/movielens_small/answers/*.jsonl.gz
  python -m preprocessing validate --strict --language en batch_output.jsonl
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "validate",
        help="how good answer files are",
        description=_HELP,
        epilog="\n\n".join([formats_help(), quality_help(), EXIT_CODES_HELP]),
    )
    parser.add_argument(
        "--source", metavar="NAME", help="source that the answers must belong to (default: any)"
    )
    add_answer_options(parser)
    add_json_option(parser)
    add_quality_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Validates and returns the JSON result."""
    from preprocessing.importing.validation import validate_answers

    return validate_answers(
        arguments.files,
        format_name=arguments.format,
        source=arguments.source,
        extraction=arguments.extraction,
        thresholds=thresholds_of(arguments),
        strict=arguments.strict,
    )
