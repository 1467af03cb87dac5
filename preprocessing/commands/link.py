"""`python -m preprocessing link`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from configs.command_line import add_json_option, add_scenario_options, scenario_of
from preprocessing.commands.options import add_run_options, epilog

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Finds the items that LLM answers name: "Which other films do people who love this one love too?"

  <work_dir>/links/<source>/links.parquet       every name: which item it means, and how
  <work_dir>/links/<source>/review.csv          names that are not exactly a title, to look through
  <work_dir>/links/<source>/manifest.json       names linked, not linked, dropped; items linked to
  <work_dir>/links/<source>/dead_letters.jsonl  answers without a list, dropped names, with reason

Sources are those with knowledge.answers.SOURCE.links. A name means the item of equal title (case,
accents, punctuation, articles, "Part II" and "2" aside), of another title in brackets, or of nearly
equal title; a year in brackets counts, and of several items the one nearest in year is meant. Never
the item itself. What is outside the catalogue but named for two or more items is kept as a node.
See docs/linked_knowledge.md.

examples:
  python -m preprocessing link --config my_scenario.yaml
  python -m preprocessing link --config my_scenario.yaml --mine item
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "link",
        help="names in LLM answers to items of the catalogue",
        description=_HELP,
        epilog=epilog(
            ["work_dir", "data.catalogue", "data.interactions", "knowledge.answers.<name>.links"]
        ),
    )
    add_scenario_options(parser)
    add_json_option(parser)
    parser.add_argument(
        "--source",
        action="append",
        metavar="NAME",
        help="a source with 'links' (default: all of them); may be repeated",
    )
    parser.add_argument(
        "--mine",
        action="append",
        default=[],
        metavar="NAME",
        help="search the prose answers of this source for titles, into links/NAME; of sources with "
        "'links' only those named by --source are linked beside it; may be repeated",
    )
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Links the names and returns the JSON result."""
    from preprocessing.links.step import link

    return link(
        scenario_of(arguments),
        sources=arguments.source,
        mine=arguments.mine,
        strict=arguments.strict,
        force=arguments.force,
        dry_run=arguments.dry_run,
    )
