"""The commands that run steps: `group`, `link`, `encode`, `examples`, and `all` of the last two."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from configs.command_line import add_json_option, add_scenario_options, scenario_of
from preprocessing.commands.options import (
    MATCH_KEYS,
    add_run_options,
    add_source_option,
    add_step_options,
    epilog,
    run_options_of,
    step_options_of,
)

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_GROUP_HELP = """\
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
_LINK_HELP = """\
Finds the items that LLM answers name: "Which other films do people who love this one love too?"

  <work_dir>/links/<source>/links.parquet       every name: which item it means, and how
  <work_dir>/links/<source>/review.csv          names that are not exactly a title, to look through
  <work_dir>/links/<source>/manifest.json       names linked, not linked, dropped; items linked to
  <work_dir>/links/<source>/dead_letters.jsonl  answers without a list, dropped names, with reason

Sources are those with knowledge.answers.SOURCE.links. A name means the item of equal title (case,
accents, punctuation, articles, "Part II" and "2" aside), of another title in brackets, or of nearly
equal title; a year in brackets counts, and of several items the one nearest in year is meant. Never
the item itself. What is outside the catalogue but named for two or more items is kept as a node.
See docs/linked_knowledge.md.

examples:
  python -m preprocessing link --config my_scenario.yaml
  python -m preprocessing link --config my_scenario.yaml --mine item
"""
_ENCODE_HELP = """\
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
_EXAMPLES_HELP = """\
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
_ALL_HELP = """\
Runs the steps `examples` and `encode`: everything that the trainer reads, with the sources of all
arms of the scenario's experiment. Finished steps whose inputs and settings are unchanged are
skipped.

example:
  python -m preprocessing all --config configs/movielens_small.yaml
"""


def add_group(subparsers: Subparsers) -> None:
    """Adds the parser of `group`."""
    parser = subparsers.add_parser(
        "group",
        help="groups of items and users for collective answers",
        description=_GROUP_HELP,
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
    add_source_option(parser, "a source with 'grouping' (default: all of them)")
    add_run_options(parser)
    parser.set_defaults(run=_group)


def add_link(subparsers: Subparsers) -> None:
    """Adds the parser of `link`."""
    parser = subparsers.add_parser(
        "link",
        help="names in LLM answers to items of the catalogue",
        description=_LINK_HELP,
        epilog=epilog(
            ["work_dir", "data.catalogue", "data.interactions", "knowledge.answers.<name>.links"]
        ),
    )
    add_scenario_options(parser)
    add_json_option(parser)
    add_source_option(parser, "a source with 'links' (default: all of them)")
    parser.add_argument(
        "--mine",
        action="append",
        default=[],
        metavar="NAME",
        help="search the prose answers of this source for titles, into links/NAME; of sources with "
        "'links' only those named by --source are linked beside it; may be repeated",
    )
    add_run_options(parser)
    parser.set_defaults(run=_link)


def add_encode(subparsers: Subparsers) -> None:
    """Adds the parser of `encode`."""
    parser = subparsers.add_parser(
        "encode",
        help="LLM answers to knowledge vectors",
        description=_ENCODE_HELP,
        epilog=epilog(["work_dir", "knowledge", "data", "split", *MATCH_KEYS]),
    )
    add_step_options(parser)
    add_source_option(parser, "a source of knowledge.answers to encode instead")
    parser.set_defaults(run=_encode)


def add_examples(subparsers: Subparsers) -> None:
    """Adds the parser of `examples`."""
    parser = subparsers.add_parser(
        "examples",
        help="interactions and catalogue to training examples",
        description=_EXAMPLES_HELP,
        epilog=epilog(["work_dir", "data", "split", "knowledge.answers"]),
    )
    add_step_options(parser)
    parser.set_defaults(run=_examples)


def add_all(subparsers: Subparsers) -> None:
    """Adds the parser of `all`."""
    parser = subparsers.add_parser(
        "all",
        help="examples and knowledge vectors: everything that training needs",
        description=_ALL_HELP,
        epilog=epilog(["work_dir", "data", "split", "knowledge", *MATCH_KEYS]),
    )
    add_step_options(parser)
    parser.set_defaults(run=_all)


def _group(arguments: argparse.Namespace) -> dict[str, Any]:
    from preprocessing.grouping.step import make_groups

    scenario = scenario_of(arguments)
    return make_groups(scenario, sources=arguments.source, **run_options_of(arguments))


def _link(arguments: argparse.Namespace) -> dict[str, Any]:
    from preprocessing.links.step import link

    scenario, options = scenario_of(arguments), run_options_of(arguments)
    return link(scenario, sources=arguments.source, mine=arguments.mine, **options)


def _encode(arguments: argparse.Namespace) -> dict[str, Any]:
    from preprocessing.encode import encode

    return encode(scenario_of(arguments), sources=arguments.source, **step_options_of(arguments))


def _examples(arguments: argparse.Namespace) -> dict[str, Any]:
    from preprocessing.examples import build_examples

    return build_examples(scenario_of(arguments), **step_options_of(arguments))


def _all(arguments: argparse.Namespace) -> dict[str, Any]:
    from preprocessing.all_steps import run_all_steps

    return run_all_steps(scenario_of(arguments), **step_options_of(arguments))
