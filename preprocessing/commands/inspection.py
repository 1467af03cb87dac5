"""The commands that look at what is there: `inspect`, `explain` and `validate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from configs.command_line import (
    EXIT_CODES_HELP,
    CommandError,
    add_field_options,
    add_json_option,
    add_scenario_options,
    scenario_of,
    section_of,
)
from configs.loading import ConfigurationError
from configs.section import Metavar, OneOf, Section
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.options import (
    add_answer_options,
    add_quality_options,
    formats_help,
    quality_help,
)
from preprocessing.commands.options import add_source_option, epilog

if TYPE_CHECKING:
    from configs.command_line import Subparsers


_INSPECT_HELP = """\
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


def add_inspect(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "inspect",
        help="records, schema, counts and statistics, for people",
        description=_INSPECT_HELP,
        epilog=EXIT_CODES_HELP,
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="a file or folder")
    add_field_options(parser, InspectOptions)
    add_json_option(parser)
    parser.set_defaults(run=_inspect)


def _inspect(arguments: argparse.Namespace) -> dict[str, Any]:
    """Shows and returns the JSON result."""
    from preprocessing.inspection.inspect import inspect_path

    return inspect_path(arguments.path, arguments.records, arguments.limit)


_EXPLAIN_HELP = """\
Shows what the work directory knows of an item: the names in the answer about it and the items that
they mean, the items whose answers name it, and its nearest items by the vectors of every encoded
item source, links, texts and collaborative ones. Cosines are of vectors less their mean, as
knowledge match compares them. See docs/linked_knowledge.md.

examples:
  python -m preprocessing explain --config configs/movielens_small.yaml --title "Heat (1995)"
  python -m preprocessing explain --config configs/movielens_small.yaml --item 318 --json
"""


class ExplainOptions(Section):
    """Which item is explained, and how many others are shown."""

    item: Annotated[str | None, Metavar("ID"), OneOf("item")] = Field(
        None, description="id of the item"
    )
    title: Annotated[str | None, Metavar("TEXT"), OneOf("item")] = Field(
        None, description="its title in the place of the id, with the year in brackets or without"
    )
    neighbours: int = Field(
        10, ge=1, description="nearest items by each source, and items that name it, at most"
    )


def add_explain(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "explain",
        help="an item's links, who names it, and its nearest items by every source",
        description=_EXPLAIN_HELP,
        epilog=epilog(["work_dir", "knowledge.answers.<name>.links"]),
    )
    add_scenario_options(parser)
    add_json_option(parser)
    add_field_options(parser, ExplainOptions)
    add_source_option(
        parser, "a source whose links are shown (default: all item sources that have links)"
    )
    parser.set_defaults(run=_explain)


def _explain(arguments: argparse.Namespace) -> dict[str, Any]:
    """Shows and returns the JSON result."""
    from preprocessing.inspection.explain import explain

    options = section_of(arguments, ExplainOptions)
    if options.item is None and options.title is None:
        raise ConfigurationError("say which item is to be explained, by --item or by --title")
    return explain(
        scenario_of(arguments),
        options.item,
        options.title,
        sources=arguments.source,
        neighbours=options.neighbours,
    )


_VALIDATE_HELP = """\
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


def add_validate(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "validate",
        help="whether answer files are good and work directories whole",
        description=_VALIDATE_HELP,
        epilog="\n\n".join([formats_help(), quality_help(), EXIT_CODES_HELP]),
    )
    parser.add_argument(
        "--source", metavar="NAME", help="source that the answers must belong to (default: any)"
    )
    add_answer_options(parser, "PATH", "answer files, .gz or not; or work directories and steps")
    add_json_option(parser)
    add_quality_options(parser)
    parser.set_defaults(run=_validate)


def _validate(arguments: argparse.Namespace) -> dict[str, Any]:
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
