"""`python -m preprocessing all`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from configs.command_line import scenario_of
from preprocessing.commands.options import MATCH_KEYS, add_step_options, epilog, step_options_of

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Runs the steps `examples` and `encode`: everything that the trainer reads, with the sources of all
arms of the scenario's experiment. Finished steps whose inputs and settings are unchanged are
skipped.

example:
  python -m preprocessing all --config configs/movielens_small.yaml
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "all",
        help="examples and knowledge vectors: everything that training needs",
        description=_HELP,
        epilog=epilog(["work_dir", "data", "split", "knowledge", *MATCH_KEYS]),
    )
    add_step_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Runs all steps and returns the JSON result."""
    from preprocessing.all_steps import run_all_steps

    return run_all_steps(scenario_of(arguments), **step_options_of(arguments))
