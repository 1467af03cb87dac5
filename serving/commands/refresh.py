"""The command `python -m serving refresh`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from configs.command_line import (
    EXIT_CODES_HELP,
    add_json_option,
    positive_integer,
    quiet_tensorflow,
    section_of,
)
from configs.loading import ConfigurationError
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.formats import AUTO, FORMATS
from preprocessing.answers.options import (
    add_quality_options,
    formats_help,
    quality_help,
)
from preprocessing.records.contract import EXTRACTIONS

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Writes the next version of a served model with new answers in it, without training. The version
itself holds all that is needed: trained adapter, frozen reductions and priors, the encoder's
settings. Neither the run nor its data is read.

what a record does:
  an individual answer of a known item or user    its knowledge becomes the answer's, also where it
                                                  shared that of a group until now
  an individual answer of an item or user that the model has never seen
                                                  it joins, with the trained default in the place of
                                                  its id, no attributes and no ratings
  a collective answer about a known group         the knowledge of all members without an answer of
                                                  their own becomes the answer's

All other rows stay as they are, bit for bit, and so does the graph. Answers that are there already
change nothing, and when nothing changes no version is written. A server that watches BASE never
sees half a version; a killed refresh is simply run again.

examples:
  python -m serving refresh --model out/export --answers new_answers.jsonl
  python -m serving refresh --model out/export --source item --answers batch_output.jsonl --dry-run
  python -m serving refresh --model out/export --source item --vectors new_vectors.parquet

More: docs/refresh.md.
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "refresh",
        help="new answers into a served model, without training",
        description=_HELP,
        epilog="\n\n".join([formats_help(), quality_help(), EXIT_CODES_HELP]),
    )
    parser.add_argument("--model", required=True, metavar="BASE", help="model base path")
    parser.add_argument(
        "--answers",
        nargs="+",
        default=[],
        metavar="NEW.jsonl",
        help="answer files, .gz or not; they are checked as `preprocessing import` checks them",
    )
    parser.add_argument(
        "--vectors",
        nargs="+",
        default=[],
        metavar="FILE.parquet",
        help="knowledge vectors made elsewhere, with entity_id and vector: .parquet, .npz or "
        "TFRecord files; extraction 'collective' marks ids of groups; needs --source",
    )
    parser.add_argument(
        "--source",
        metavar="NAME",
        help="source, e.g. item or user, of files whose records do not name it",
    )
    parser.add_argument(
        "--version",
        type=positive_integer,
        metavar="N",
        help="version to go on from (default: the highest); the new one is always the highest",
    )
    parser.add_argument(
        "--format",
        choices=[AUTO, *FORMATS],
        default=AUTO,
        help="format of the answers; auto tells it from their content (default: %(default)s)",
    )
    parser.add_argument(
        "--extraction",
        choices=EXTRACTIONS,
        help="whether answers are about entities or about groups (default: what a record says)",
    )
    parser.add_argument(
        "--dead-letters",
        metavar="FILE.jsonl",
        help="where rejected records go, with file, line, reason and detail (default: "
        "BASE/refresh_dead_letters.jsonl)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what would change; write no version"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with code 3 when records were rejected"
    )
    add_json_option(parser)
    add_quality_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Refreshes and says what changed.

    Raises:
      ConfigurationError: there is nothing to refresh with.
    """
    if not arguments.answers and not arguments.vectors:
        raise ConfigurationError("--answers: name files of new answers, or vectors with --vectors")
    quiet_tensorflow()
    from serving.refresh.incoming import AnswerFiles
    from serving.refresh.refreshing import RefreshRequest, refresh

    return refresh(
        RefreshRequest(
            base=Path(arguments.model),
            answers=AnswerFiles(
                arguments.answers,
                arguments.format,
                arguments.extraction,
                section_of(arguments, Thresholds),
            ),
            vectors=arguments.vectors,
            source=arguments.source,
            version=arguments.version,
            dry_run=arguments.dry_run,
            strict=arguments.strict,
            dead_letters=None if arguments.dead_letters is None else Path(arguments.dead_letters),
        )
    )
