"""The command `python -m serving refresh`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from configs.command_line import (
    EXIT_CODES_HELP,
    add_field_options,
    add_json_option,
    section_of,
    set_up_tensorflow,
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
from serving.options import RefreshOptions

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

--forget-user and --forget-item make users and items unknown: their rows are cleared, in every
table.

All other rows stay as they are, bit for bit, and so does the graph. Answers that are there already
change nothing, and when nothing changes no version is written. A server that watches BASE never
sees half a version; a killed refresh is simply run again.

examples:
  python -m serving refresh --model out/export --answers new_answers.jsonl
  python -m serving refresh --model out/export --source item --answers batch_output.jsonl --dry-run
  python -m serving refresh --model out/export --source item --vectors new_vectors.parquet
  python -m serving refresh --model out/export --forget-user 4711 --forget-item 318

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
    add_field_options(parser, RefreshOptions)
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
    add_json_option(parser)
    add_quality_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Refreshes and says what changed.

    Raises:
      ConfigurationError: there is nothing to refresh with.
    """
    options = section_of(arguments, RefreshOptions)
    forget = {"item": options.forget_item, "user": options.forget_user}
    if not options.answers and not options.vectors and not any(forget.values()):
        raise ConfigurationError(
            "--answers: name files of new answers, vectors with --vectors, or whom to forget with "
            "--forget-user and --forget-item"
        )
    set_up_tensorflow()
    from serving.refresh.incoming import AnswerFiles
    from serving.refresh.refreshing import RefreshRequest, refresh

    return refresh(
        RefreshRequest(
            base=Path(options.model),
            answers=AnswerFiles(
                options.answers,
                arguments.format,
                arguments.extraction,
                section_of(arguments, Thresholds),
            ),
            vectors=options.vectors,
            source=options.source,
            version=options.version,
            dry_run=options.dry_run,
            strict=options.strict,
            dead_letters=options.dead_letters,
            forget=forget,
        )
    )
