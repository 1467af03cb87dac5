"""The trainer's door: `python -m trainer {train,evaluate,compare,experiment,tune}`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from configs.command_line import program_parser, run_command
from trainer.commands import evaluation, training

_HELP = """\
Trains ranking models, re-rankers and retrieval models with LLM knowledge, evaluates and compares
them. Which kind it is follows from model.backbone.

A typical order:
  python -m preprocessing all   --config configs/movielens_small.yaml
  python -m trainer train       --config configs/movielens_small.yaml
  python -m trainer evaluate    RUN                                   the folder that train names
  python -m serving export      RUN \\
      --out out/export

Many models at once, and good settings:
  python -m trainer experiment  --config configs/experiments/movielens_small_grid.yaml
  python -m trainer tune        --config configs/movielens_small.yaml --trials 20 \\
      'training.learning_rate=log:1e-4..1e-2'
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    parser = program_parser("python -m trainer", _HELP)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for add_command in (
        training.add_train,
        evaluation.add_evaluate,
        evaluation.add_compare,
        training.add_experiment,
        training.add_tune,
    ):
        add_command(subparsers)
    parsed = parser.parse_args(arguments)
    return run_command(parsed.run, parsed)


if __name__ == "__main__":
    sys.exit(main())
