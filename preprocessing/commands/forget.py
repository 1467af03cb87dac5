"""`python -m preprocessing forget`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.command_line import add_json_option, add_scenario_options, scenario_of
from preprocessing.commands.options import epilog

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Takes users or items out of all that the work directory and the scenario's answer files hold of
them: answers, prompts, groups, links, vectors, examples, tables of scores. All other records stay
as they are. The log, the catalogue and the profiles are yours and are not edited; the ids' hashes
in <work_dir>/forgotten.json make every later step pass over their rows.

A report in <work_dir>/forget_reports says what was removed where, what is still there, and what
has to be trained or made anew. It is signed if the environment variable REKI_REPORT_KEY holds a
key. Run the command again if it was interrupted. See docs/forgetting.md.

examples:
  python -m preprocessing forget --config my_scenario.yaml --user 4711 --dry-run
  python -m preprocessing forget --config my_scenario.yaml --user-file ids.txt --path out/answers
  python -m preprocessing forget --config my_scenario.yaml --verify out/forget_reports/REPORT.json
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "forget",
        help="takes users or items out of everything that was made of them",
        description=_HELP,
        epilog=epilog(["work_dir", "data", "knowledge.answers", "prompts.minimum_group_users"]),
    )
    add_scenario_options(parser)
    add_json_option(parser)
    for entity in ("user", "item"):
        parser.add_argument(
            f"--{entity}",
            action="append",
            default=[],
            metavar="ID",
            help=f"id of a {entity} to be forgotten; may be repeated",
        )
    parser.add_argument(
        "--user-file", type=Path, metavar="FILE", help="file with ids of users, one a line"
    )
    parser.add_argument(
        "--item-file", type=Path, metavar="FILE", help="file with ids of items, one a line"
    )
    parser.add_argument(
        "--path",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="a further file or folder to be edited, such as one that 'generate' wrote; may be "
        "repeated",
    )
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="make examples and vectors anew afterwards, so that sums and vectors that were made "
        "with them do not stay",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be removed, write nothing"
    )
    parser.add_argument(
        "--verify",
        type=Path,
        metavar="REPORT",
        help="check the signature of a report and whether its files are as it says; nothing else "
        "is done",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Removes, or verifies, and returns the JSON result."""
    from preprocessing.forgetting.forget import forget, read_ids
    from preprocessing.forgetting.report import verify_report

    if arguments.verify is not None:
        return verify_report(arguments.verify)
    users, items = list(arguments.user), list(arguments.item)
    if arguments.user_file is not None:
        users += read_ids(arguments.user_file)
    if arguments.item_file is not None:
        items += read_ids(arguments.item_file)
    return forget(
        scenario_of(arguments),
        users,
        items,
        paths=arguments.path,
        recompute=arguments.recompute,
        dry_run=arguments.dry_run,
    )
