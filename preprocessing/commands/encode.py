"""`python -m preprocessing encode`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from configs.command_line import scenario_of
from preprocessing.commands.options import MATCH_KEYS, add_step_options, epilog, step_options_of

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Turns LLM answers into knowledge vectors: <work_dir>/knowledge/<source>/part-*.tfrecord.gz, one
record per item or user, with a manifest and the rejected answers (dead_letters.jsonl).

An answer file holds one JSON object a line:
  {"source": "item", "entity_id": "318", "extraction": "individual", "answer": "..."}
and perhaps "prompt" and its "prompt_sha256". One file may hold the answers of several sources, as
`generate` writes them, and be named under each. An entity without an answer of its own takes the
vector of its group, if the source has collective answers and either 'groups', a file of your own,
or 'grouping', which makes the groups first (see the command `group`). A source may have 'vectors'
made elsewhere (.parquet, .npz, .tfrecord) in place of answers, or vectors made here for comparison:
of plain text of the catalogue ('metadata'), of random numbers ('random'), or of the training
interactions ('collaborative').

Encoders, which text they read, and how encoded texts are kept: docs/encoders.md.

By default the sources in knowledge.sources are encoded, and those of knowledge match and of the
knowledge prior when model.match and model.prior are on. That is so with model.adapter=none too:
arms with and without the adapter can then be trained on one work directory. A finished source whose
inputs and settings are unchanged is skipped.

examples:
  python -m preprocessing encode --config configs/movielens_small.yaml
  python -m preprocessing encode --config configs/movielens_small.yaml --source user_liked
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "encode",
        help="LLM answers to knowledge vectors",
        description=_HELP,
        epilog=epilog(["work_dir", "knowledge", "data", "split", *MATCH_KEYS]),
    )
    add_step_options(parser)
    parser.add_argument(
        "--source",
        action="append",
        metavar="NAME",
        help="a source of knowledge.answers to encode instead; may be repeated",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Encodes and returns the JSON result."""
    from preprocessing.encode import encode

    return encode(scenario_of(arguments), sources=arguments.source, **step_options_of(arguments))
