"""`python -m preprocessing import`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, get_args

from configs.command_line import EXIT_CODES_HELP, add_json_option, section_of
from configs.knowledge import SourceAnswers
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

_ENTITY = SourceAnswers.model_fields["entity"].annotation
_HELP = """\
Reads answers that an LLM gave elsewhere, checks each of them, and writes
  DIR/answers.jsonl        the accepted answers, in the order of the files, for knowledge.answers
  DIR/dead_letters.jsonl   every rejected record with file, line, reason and detail
  DIR/summary.json         what --json prints: read = accepted + rejected, and their quality

The first accepted answer for an entity counts; later ones are dead letters. A file that is not in
its format at all fails the command, and nothing is written.

With --ids FILE the ids of items or users are replaced: FILE is a table with the columns `old` and
`new` (CSV, TSV, JSON lines, Parquet) or a JSON object old -> new. An answer whose id is no `old` id
is a dead letter, unknown_id; an `old` id that stands there twice is an error. Answers about groups
keep the ids of their groups; give --ids to `import --groups` too.

With --groups FILE.json in place of answers: a JSON object id -> group becomes DIR/groups.csv, for
knowledge.answers.SOURCE.groups. Formats and checks in full: docs/importing.md.

examples:
  python -m preprocessing import --source item --out out/answers/item batch_output.jsonl
  python -m preprocessing import --source user --prompts prompts.jsonl \\
      --out out/answers/user batch_output.jsonl
  python -m preprocessing import --source item --format id-text --model deepseek-chat \\
      --out out/answers/item colakg_item.json.gz
  python -m preprocessing import --source item --ids artist_ids.csv --out out/answers/item \\
      artists.jsonl
  python -m preprocessing import --groups user_id2pos_neg_group.json --entity user --place 1 \\
      --out out/groups/user_liked
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "import",
        help="answers made elsewhere to answer records",
        description=_HELP,
        epilog="\n\n".join([formats_help(), quality_help(), EXIT_CODES_HELP]),
    )
    parser.add_argument("--source", metavar="NAME", help="source, e.g. item or user")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write into")
    parser.add_argument(
        "--model", metavar="NAME", help="LLM that wrote the answers, where a file does not say"
    )
    parser.add_argument(
        "--prompts",
        action="append",
        default=[],
        metavar="FILE.jsonl",
        help="prompts that were sent (what `prompts` wrote): they say which entity a custom_id "
        "stands for, and what was asked; needed where custom ids are pseudonyms; may be repeated",
    )
    parser.add_argument(
        "--ids",
        metavar="FILE",
        help="table with the columns old and new, or JSON object old -> new: ids of the answers, "
        "or of --groups, and those of your log",
    )
    parser.add_argument("--gzip", action="store_true", help="write DIR/answers.jsonl.gz instead")
    add_answer_options(parser, files_needed=False)
    parser.add_argument(
        "--groups",
        metavar="FILE.json",
        help="instead of answers: a JSON object, id -> group id or id -> list of group ids",
    )
    parser.add_argument(
        "--entity", choices=get_args(_ENTITY), help="--groups: what the ids are; needed there"
    )
    parser.add_argument(
        "--place",
        type=int,
        metavar="N",
        help="--groups: which group id of each list, counted from 1",
    )
    add_json_option(parser)
    add_quality_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Imports and returns the JSON result.

    Raises:
      ConfigurationError: options are missing, or do not go together.
    """
    if arguments.groups is not None:
        return _import_groups(arguments)
    for option in ("entity", "place"):
        if getattr(arguments, option) is not None:
            raise ConfigurationError(f"--{option} goes with --groups; leave it out for answers")
    if arguments.source is None:
        raise ConfigurationError("--source: say of which source the answers are, e.g. item")
    if not arguments.files:
        raise ConfigurationError("FILE: name the answer files, or a file of groups with --groups")
    from preprocessing.answers.importing import import_answers

    return import_answers(
        arguments.files,
        arguments.source,
        arguments.out,
        format_name=arguments.format,
        extraction=arguments.extraction,
        model=arguments.model,
        prompts=arguments.prompts,
        ids=arguments.ids,
        thresholds=section_of(arguments, Thresholds),
        compressed=arguments.gzip,
        strict=arguments.strict,
    )


def _import_groups(arguments: argparse.Namespace) -> dict[str, Any]:
    """Raises ConfigurationError for options that say something about answers."""
    for option, name in (("files", "FILE"), ("source", "--source"), ("prompts", "--prompts")):
        if getattr(arguments, option):
            raise ConfigurationError(f"{name} is for answers; leave it out beside --groups")
    if arguments.entity is None:
        raise ConfigurationError("--entity: say what the ids of --groups are, item or user")
    from preprocessing.grouping.groups_file import import_groups

    return import_groups(
        arguments.groups,
        arguments.entity,
        arguments.out,
        place=arguments.place,
        ids=arguments.ids,
        strict=arguments.strict,
    )
