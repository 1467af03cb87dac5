"""`python -m preprocessing examples`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from configs.command_line import scenario_of
from preprocessing.commands.options import add_step_options, epilog, step_options_of

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Turns interactions, catalogue and profiles into <work_dir>/examples/ (docs/examples.md):
  ctr/{train,validation,test}/part-*.tfrecord.gz   one tf.train.Example per sample
  rerank/..., retrieval/...                        lists of candidates; liked items
  item_attributes.parquet                          attributes and rating statistics of items
  vocabularies/*.txt                               ids and attribute values, frequent ones first
  schema*.pbtxt                                    TensorFlow Metadata of each kind
  manifest.json                                    counts and checksums
  dead_letters.jsonl                               rejected rows, with line and reason

A user's first k_u = min(floor((n + 1) / 2), split.knowledge_history_cap) interactions may have been
shown to the LLM and are never samples. Every sample is compared with what the user's prompt showed;
one violation fails the step.

example:
  python -m preprocessing examples --config configs/movielens_small.yaml split.by=user
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "examples",
        help="interactions and catalogue to training examples",
        description=_HELP,
        epilog=epilog(["work_dir", "data", "split", "knowledge.answers"]),
    )
    add_step_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Builds the examples and returns the JSON result."""
    from preprocessing.examples import build_examples

    return build_examples(scenario_of(arguments), **step_options_of(arguments))
