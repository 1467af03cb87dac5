"""`python -m preprocessing explain`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from configs.command_line import (
    add_field_options,
    add_json_option,
    add_scenario_options,
    scenario_of,
    section_of,
)
from configs.loading import ConfigurationError
from configs.section import Metavar, OneOf, Section
from preprocessing.commands.options import epilog

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
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


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "explain",
        help="an item's links, who names it, and its nearest items by every source",
        description=_HELP,
        epilog=epilog(["work_dir", "knowledge.answers.<name>.links"]),
    )
    add_scenario_options(parser)
    add_json_option(parser)
    add_field_options(parser, ExplainOptions)
    parser.add_argument(
        "--source",
        action="append",
        metavar="NAME",
        help="a source whose links are shown (default: all item sources that have links); may be "
        "repeated",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
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
