"""`python -m preprocessing validate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.command_line import EXIT_CODES_HELP, CommandError, add_json_option, section_of
from configs.loading import ConfigurationError
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.options import (
    add_answer_options,
    add_quality_options,
    formats_help,
    quality_help,
)

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Checks what preprocessing wrote or will read; changes nothing.

FILE: answer files, as `import` would read them: how many answers would be rejected, why, with
examples, and how long the others are; of lists of names, how many names are of use.

FOLDER: a work directory, or the folder of a step (examples, knowledge/SOURCE, prompts,
groups/SOURCE), against its manifest and schema: names, sizes and checksums of all files, counts
that add up, every record with the features of its schema, labels, ratings and histories, parts in
order, the leak rule, ids of training examples in the vocabularies, vectors of one width. Each
finding names the file, the record and what to do; errors end with exit code 1.

examples:
  python -m preprocessing validate examples/movielens_small/answers/*.jsonl.gz
  python -m preprocessing validate --strict --language en batch_output.jsonl
  python -m preprocessing validate out/movielens_small
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "validate",
        help="whether answer files are good and work directories whole",
        description=_HELP,
        epilog="\n\n".join([formats_help(), quality_help(), EXIT_CODES_HELP]),
    )
    parser.add_argument(
        "--source", metavar="NAME", help="source that the answers must belong to (default: any)"
    )
    add_answer_options(parser, "PATH", "answer files, .gz or not; or work directories and steps")
    add_json_option(parser)
    add_quality_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Validates and returns the JSON result."""
    folders = [Path(path) for path in arguments.files if Path(path).is_dir()]
    if folders:
        return _validate_folders(arguments, folders)
    from preprocessing.answers.importing import validate_answers

    for path in arguments.files:
        _refuse_part_of_step(Path(path))
    return validate_answers(
        arguments.files,
        format_name=arguments.format,
        source=arguments.source,
        extraction=arguments.extraction,
        thresholds=section_of(arguments, Thresholds),
        strict=arguments.strict,
    )


def _refuse_part_of_step(path: Path) -> None:
    """Raises ConfigurationError for a file that only its manifest can say something about."""
    from preprocessing.inspection.inspect import Kind, kind_of

    try:
        kind = kind_of(path)
    except CommandError:
        return  # answers in a form of their own, or nothing at all: told by who reads them
    if kind in (Kind.TFRECORD, Kind.PARQUET, Kind.MANIFEST, Kind.SCHEMA):
        raise ConfigurationError(
            f"{path}: a {kind.value} is checked with the folder that holds its manifest.json; "
            "name that folder"
        )


def _validate_folders(arguments: argparse.Namespace, folders: list[Path]) -> dict[str, Any]:
    from preprocessing.inspection.folder_checks import validate_folders

    if len(folders) != len(arguments.files):
        raise ConfigurationError("give folders or answer files, not both in one command")
    return validate_folders(folders, arguments.strict)
