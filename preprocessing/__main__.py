"""The door of preprocessing: `python -m preprocessing COMMAND`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from configs.command_line import program_parser, run_command
from preprocessing.beam_options import silence_beam_import_logs
from preprocessing.commands import answers, download, forget, inspection, steps

_HELP = """\
Turns raw data and LLM answers into the TFRecords that training reads, with Apache Beam.

A typical order:
  python -m preprocessing all   --config configs/movielens_small.yaml
  python -m trainer train       --config configs/movielens_small.yaml
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    parser = program_parser("python -m preprocessing", _HELP)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for add_command in (
        download.add_command,
        steps.add_group,
        answers.add_prompts,
        answers.add_generate,
        answers.add_import,
        steps.add_link,
        steps.add_encode,
        steps.add_examples,
        steps.add_all,
        inspection.add_inspect,
        inspection.add_explain,
        forget.add_command,
        inspection.add_validate,
    ):
        add_command(subparsers)
    parsed = parser.parse_args(arguments)
    silence_beam_import_logs()
    return run_command(parsed.run, parsed)


if __name__ == "__main__":
    sys.exit(main())
