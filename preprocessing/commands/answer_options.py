"""Options of the commands that read answers of any format."""

from __future__ import annotations

import argparse

from preprocessing.importing.formats import AUTO, FORMATS
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
    parser.add_argument(
        "--strict", action="store_true", help="exit with code 3 when records were rejected"
    )


def formats_help() -> str:
    """A paragraph that lists the formats."""
    width = max(map(len, FORMATS)) + 2
    lines = [f"  {name:{width}}{form.description}" for name, form in FORMATS.items()]
    return "\n".join(["formats:", *lines])
