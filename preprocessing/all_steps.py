"""All steps of preprocessing, one after the other."""

from __future__ import annotations

import time
from itertools import product
from typing import Any

from configs.arms import sources_of_arms
from configs.scenario import Scenario
from preprocessing.beam_options import BeamOptions
from preprocessing.encode import built_directories, default_sources, encode
from preprocessing.examples import build_examples
from preprocessing.knowledge.source_plan import described_by
from preprocessing.missing_answers import missing_answers
from preprocessing.records.layout import WorkDirectory
from preprocessing.steps import refuse_rejected
from preprocessing.tables.blocks import expand_paths


def run_all_steps(
    scenario: Scenario,
    *,
    strict: bool = False,
    force: bool = False,
    dry_run: bool = False,
    beam: BeamOptions | None = None,
) -> dict[str, Any]:
    """Runs `examples`, whose checks are quick, then `encode` of all sources that any arm reads.

    A scenario none of whose answers are there yet gets what a model without knowledge is trained
    on.

    Arguments are those of the steps.

    Returns:
      Sums of the counts, and under `steps` the result of each step.

    Raises:
      ConfigurationError: see the steps.
      CommandError: see the steps.
      RejectedInput: `strict` and a step has dead letters; raised when all steps are done.
    """
    start = time.monotonic()
    missing = missing_answers(scenario)
    needed = dict.fromkeys([*default_sources(scenario), *sources_of_arms(scenario)])
    sources = [source for source in needed if source not in missing]
    _require_answer_files(scenario, sources)
    steps = [
        build_examples(scenario, force=force, dry_run=dry_run, beam=beam),
        encode(scenario, sources=sources, force=force, dry_run=dry_run, beam=beam),
    ]
    if dry_run:
        return {"step": "all", "dry_run": True, "steps": steps}
    counts = ("records_in", "records_out", "dead_letters")
    result = {
        "step": "all",
        **{key: sum(step[key] for step in steps) for key in counts},
        "other_sources": sum(step.get("other_sources", 0) for step in steps),
        "seconds": round(time.monotonic() - start, 3),
        "skipped": all(step["skipped"] for step in steps),
        "steps": steps,
    }
    if strict:
        work = WorkDirectory(scenario.work_dir)
        refuse_rejected([work.examples, *built_directories(scenario, sources)], result)
    return result


def _require_answer_files(scenario: Scenario, sources: list[str]) -> None:
    """Finds out that a file or an attribute is missing before the long steps, not between them."""
    for source in sources:
        answers = scenario.knowledge.answers[source]
        answer_sources = [source, *(answers.links.mine if answers.links is not None else ())]
        for named, name in product(answer_sources, ("individual", "collective", "vectors")):
            paths = getattr(scenario.knowledge.answers[named], name)
            if paths:
                expand_paths(paths, f"knowledge.answers.{named}.{name}")
        described_by(
            scenario.data.catalogue, answers.metadata, f"knowledge.answers.{source}.metadata"
        )
