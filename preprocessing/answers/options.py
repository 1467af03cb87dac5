"""Command-line options of reading and checking answers."""

from __future__ import annotations

import argparse
import textwrap

from configs.command_line import add_field_options
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.formats import AUTO, FORMATS
from preprocessing.answers.record import QUALITY_REASONS
from preprocessing.records.contract import EXTRACTIONS


def add_answer_options(
    parser: argparse.ArgumentParser,
    metavar: str = "FILE",
    files_help: str = "answer files, .gz or not",
    files_needed: bool = True,
) -> None:
    """Adds the files, how to read them, and `--strict`."""
    number = "+" if files_needed else "*"
    parser.add_argument("files", nargs=number, metavar=metavar, help=files_help)
    add_form_options(parser)
    parser.add_argument(
        "--strict", action="store_true", help="exit with code 3 when records were rejected"
    )


def add_form_options(parser: argparse.ArgumentParser) -> None:
    """Adds how answer files are read."""
    parser.add_argument(
        "--format",
        choices=[AUTO, *FORMATS],
        default=AUTO,
        help="format of the files; auto tells it from their content (default: %(default)s)",
    )
    parser.add_argument(
        "--extraction",
        choices=EXTRACTIONS,
        help="whether answers are about entities or about groups of them (default: what a record "
        "or its custom_id says; else collective for openai-chat, individual for klg and id-text)",
    )


def formats_help() -> str:
    """A paragraph that lists the formats."""
    width = max(map(len, FORMATS)) + 2
    lines = [f"  {name:{width}}{form.description}" for name, form in FORMATS.items()]
    return "\n".join(["formats:", *lines])


def add_quality_options(parser: argparse.ArgumentParser) -> None:
    """Adds one option per threshold."""
    group = parser.add_argument_group("when an answer counts as bad")
    add_field_options(group, Thresholds)


def quality_help() -> str:
    """A paragraph that lists the checks."""
    width = max(map(len, QUALITY_REASONS)) + 2
    lines = [
        textwrap.fill(
            meaning,
            width=100,
            initial_indent=f"  {reason:{width}}",
            subsequent_indent=" " * (width + 2),
        )
        for reason, meaning in QUALITY_REASONS.items()
    ]
    return "\n".join(["checks of each answer's text:", *lines])
