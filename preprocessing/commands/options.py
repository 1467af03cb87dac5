"""Options that several commands share: running a step, reading answers, quality checks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TypedDict

from configs.command_line import (
    EXIT_CODES_HELP,
    add_json_option,
    add_scenario_options,
    keys_help,
)
from preprocessing.beam_options import BeamOptions

MATCH_KEYS = (
    "model.match",
    "model.knowledge_match.sources",
    "model.prior",
    "model.knowledge_prior.sources",
)
"""Scenario keys that decide whether more sources are needed."""


def epilog(prefixes: Sequence[str]) -> str:
    """The end of a command's help: scenario keys and exit codes."""
    return f"{keys_help(prefixes)}\n\n{EXIT_CODES_HELP}"


class RunOptions(TypedDict):
    """Keyword arguments of every step."""

    strict: bool
    force: bool
    dry_run: bool


class StepOptions(RunOptions):
    """Those of a step that runs in Beam."""

    beam: BeamOptions


def add_step_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of every command."""
    add_scenario_options(parser)
    add_json_option(parser)
    add_run_options(parser)
    parser.add_argument(
        "--runner",
        metavar="NAME",
        help="Beam runner, e.g. PortableRunner or FlinkRunner (default: inside this process)",
    )
    parser.add_argument(
        "--beam-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the Beam runner, e.g. job_endpoint=localhost:8099; may be repeated",
    )
    parser.add_argument(
        "--staging",
        metavar="FOLDER",
        help="folder or URL (gs://...) that all workers see and write to; the results are copied "
        "from there into work_dir. Needed when workers do not see work_dir; they must see the "
        "input files too",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds what every step can be told about running."""
    parser.add_argument(
        "--strict", action="store_true", help="exit with code 3 when records were rejected"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check the configuration, say what would be done, write nothing",
    )
    parser.add_argument(
        "--force", action="store_true", help="run a step again even if its inputs are unchanged"
    )


def add_source_option(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Adds `--source`, with what it names as its help."""
    parser.add_argument(
        "--source", action="append", metavar="NAME", help=f"{meaning}; may be repeated"
    )


def run_options_of(arguments: argparse.Namespace) -> RunOptions:
    """The options of a parsed command line that every step takes."""
    return RunOptions(strict=arguments.strict, force=arguments.force, dry_run=arguments.dry_run)


def step_options_of(arguments: argparse.Namespace) -> StepOptions:
    """The options of a parsed command line, those of Beam included."""
    return StepOptions(
        **run_options_of(arguments),
        beam=BeamOptions(arguments.runner, tuple(arguments.beam_option), staging=arguments.staging),
    )
