"""`python -m examples.evidence`: runs a part of the study, or renders its pages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from configs.command_line import (
    TeachingParser,
    add_field_options,
    add_json_option,
    run_command,
    set_up_tensorflow,
)
from configs.section import Metavar, Section
from examples.evidence.pages import write_pages
from examples.evidence.study import PARTS, RESULTS, Request, run_part
from preprocessing.beam_options import silence_beam_import_logs

_HELP = """\
The study behind the numbers: which models gain by what knowledge, where, why, and at what cost.
Every part is a command of its own and goes on where it was stopped. Parts on MovieLens-1M take
hours. Those on a made-up world of music without ratings and times (music, music_reranking,
music_retrieval) and on the bundled sample (sample, adapters, extraction, tuned_sample,
user_knowledge, user_knowledge_new_users) take minutes, and need no files of yours.

MovieLens-1M may not be passed on: 'python -m preprocessing download movielens_1m' brings it.
Answers of an LLM about its films belong beside it, in answers/item_links and
answers/item_prose (docs/evidence/index.md, What it takes).

  python -m examples.evidence run main                  nine models, nine arms, three seeds
  python -m examples.evidence run main --backbones din --seeds 1 --results out/evidence/results
  python -m examples.evidence run music                 ranking models without ratings and times
  python -m examples.evidence pages                     docs/evidence/*.md from its result files
"""


class _PageOptions(Section):
    results: Annotated[str, Metavar("DIR")] = Field(
        str(RESULTS), description="folder of result files and pages"
    )


class _RunOptions(_PageOptions):
    config: Annotated[str | None, Metavar("FILE")] = Field(
        None, description="scenario with the arms and settings; the part's own if empty"
    )
    data: Annotated[str | None, Metavar("DIR")] = Field(
        None,
        description="folder with MovieLens-1M and answers; looked for in the usual ones if empty",
    )
    out: Annotated[str, Metavar("DIR")] = Field(
        "out/evidence", description="folder for prepared data and runs"
    )
    backbones: list[str] = Field([], description="of the part's; all if empty")
    arms: list[str] = Field(
        [],
        description="of the part's; all if empty. The baseline comes with them, unless the part "
        "compares some of them with each other",
    )
    seeds: list[int] = Field([1, 2, 3], description="of the trainings")
    processes: int = Field(1, ge=1, description="trainings at a time")
    resamples: int = Field(40_000, ge=1, description="of the bootstrap over users")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    parser = TeachingParser(prog="python -m examples.evidence", description=_HELP)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="prepare, train, test and compare what a part asks for")
    run.add_argument("part", choices=[*PARTS], metavar="PART", help=f"one of {', '.join(PARTS)}")
    add_field_options(run, _RunOptions)
    add_json_option(run)
    run.set_defaults(run=_run)
    pages = commands.add_parser("pages", help="write docs/evidence/*.md anew")
    add_field_options(pages, _PageOptions)
    add_json_option(pages)
    pages.set_defaults(run=_pages)
    parsed = parser.parse_args(arguments)
    silence_beam_import_logs()
    set_up_tensorflow()
    return run_command(parsed.run, parsed)


def _run(arguments: argparse.Namespace) -> Mapping[str, object]:
    document = run_part(
        Request(
            part=arguments.part,
            data=arguments.data,
            out=Path(arguments.out),
            results=Path(arguments.results),
            config=None if arguments.config is None else Path(arguments.config),
            backbones=arguments.backbones,
            arms=arguments.arms,
            seeds=arguments.seeds,
            processes=arguments.processes,
            resamples=arguments.resamples,
        )
    )
    write_pages(Path(arguments.results))
    return document


def _pages(arguments: argparse.Namespace) -> Mapping[str, object]:
    return {"pages": [str(page) for page in write_pages(Path(arguments.results))]}


if __name__ == "__main__":
    sys.exit(main())
