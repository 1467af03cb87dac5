"""`python -m preprocessing group`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from configs.command_line import add_json_option, add_scenario_options, scenario_of
from preprocessing.commands.options import add_run_options, epilog

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Groups items, and users by what they like and by what they dislike, for collective extraction: one
prompt for each group instead of one for each item or user.

  <work_dir>/groups/<source>/groups.csv         item_id or user_id, and group_id
  <work_dir>/groups/<source>/manifest.json      counts, sizes, LLM calls saved, interactions used
  <work_dir>/groups/<source>/dead_letters.jsonl rejected rows, with line and reason

Sources are those with knowledge.answers.SOURCE.grouping. Groups have at most grouping.maximum_size
members and, of users, at least prompts.minimum_group_users; neighbours in the order of the group
ids are alike. Only interactions [0, k_u) of each user are used (leak rule), with
k_u = min(floor((n + 1) / 2), split.knowledge_history_cap). A group whose members change gets
another id, so an answer about the old group is never taken for one about the new.

`prompts` and `encode` run this step first when it is needed. See docs/collective_extraction.md.

examples:
  python -m preprocessing group --config my_scenario.yaml
  python -m preprocessing group --config my_scenario.yaml --source item \\
      knowledge.answers.item.grouping.maximum_size=40
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "group",
        help="groups of items and users for collective answers",
        description=_HELP,
        epilog=epilog(
            [
                "work_dir",
                "data.interactions",
                "data.catalogue",
                "data.positive_rating",
                "data.filter",
                "split.knowledge_history_cap",
                "knowledge.answers.<name>.grouping",
                "prompts.minimum_group_users",
                "prompts.user_groups",
            ]
        ),
    )
    add_scenario_options(parser)
    add_json_option(parser)
    parser.add_argument(
        "--source",
        action="append",
        metavar="NAME",
        help="a source with 'grouping' (default: all of them); may be repeated",
    )
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Makes the groups and returns the JSON result."""
    from preprocessing.grouping.step import make_groups

    return make_groups(
        scenario_of(arguments),
        sources=arguments.source,
        strict=arguments.strict,
        force=arguments.force,
        dry_run=arguments.dry_run,
    )
