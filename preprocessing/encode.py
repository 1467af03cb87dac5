"""The step `encode`: LLM answers to knowledge vectors, one TFRecord per entity of each source.

Sources for comparison are made here in place of answers: see docs/encoders.md.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from configs.command_line import CommandError, say
from configs.scenario import Scenario
from preprocessing.answers.record import meaning_of
from preprocessing.beam_options import BeamOptions
from preprocessing.grouping.plan import GROUPS_FILE, groups_directory, groups_file
from preprocessing.grouping.step import make_groups, unfinished_groups, with_grouping
from preprocessing.knowledge.building import SourceBuild
from preprocessing.knowledge.log_coverage import COVERAGE, LogCoverage
from preprocessing.knowledge.source_plan import SourcePlan, plan_source
from preprocessing.links.step import link, unfinished_links, with_links
from preprocessing.missing_answers import needed_split
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.layout import StepDirectory, WorkDirectory
from preprocessing.steps import Step, StepRun, refuse_rejected, run_sources


def encode(
    scenario: Scenario,
    *,
    sources: Sequence[str] | None = None,
    strict: bool = False,
    force: bool = False,
    dry_run: bool = False,
    beam: BeamOptions | None = None,
) -> dict[str, Any]:
    """Writes `knowledge/<source>/` of the work directory.

    Groups that are made here (`grouping`) are made first, and names linked of sources with `links`,
    unless they are finished.

    Args:
      scenario: the scenario.
      sources: names from `knowledge.answers`; if not given, `default_sources`.
      strict: raise RejectedInput when records were rejected.
      force: build even if a finished result is there.
      dry_run: only say what would be done.
      beam: runner and options.

    Returns:
      Counts for programs, for all sources together and under `sources` for each. `records_in`
      answers were read; `records_out` of them have a knowledge vector, `dead_letters` were
      rejected: the two add up to `records_in`. `other_sources` counts records of other sources in
      the same files. `knowledge_records` TFRecords were written, one per entity. `texts_encoded`,
      `texts_from_cache` and `tokens` say what this run had to do for its distinct texts, and what a
      paid endpoint counted. Of a source that is made from the log, records are its vectors, and
      `interactions` and `catalogue` count the rows of the tables in the same way. `coverage` of a
      source says how many ids and interactions of the log have a vector; it is None where there is
      no log, and of sources that are made from it.

    Raises:
      ConfigurationError: a source is unknown, or a file or a column does not exist.
      CommandError: an input file is cut off, every answer of a source was rejected, the encoder
        cannot work, or no id of the log has a vector of a source.
      RejectedInput: `strict` and there are dead letters.
    """
    start = time.monotonic()
    names = default_sources(scenario) if sources is None else list(dict.fromkeys(sources))
    work = WorkDirectory(scenario.work_dir)
    if sources is None and not names:
        say("encode: nothing to do, knowledge.sources names no source")
    if dry_run:
        return {
            "step": "encode",
            "dry_run": True,
            "sources": _dry_run(scenario, names, force),
        }
    if grouped := with_grouping(scenario, names):
        make_groups(scenario, sources=grouped)
    if linked := with_links(scenario, names):
        link(scenario, sources=linked)
    # After the groups, which prompts are made from before there are answers.
    scenario = scenario.model_copy(update={"split": needed_split(scenario)})
    plans = [plan_source(scenario, name) for name in names]
    coverage = LogCoverage(scenario)
    steps = {plan.source: _step(scenario, plan, coverage, beam or BeamOptions()) for plan in plans}
    result = run_sources("encode", steps, force, start)
    for key in (
        *("records_in", "records_out", "dead_letters", "other_sources", "knowledge_records"),
        *("texts_encoded", "texts_from_cache", "tokens"),
    ):
        result[key] = sum(described[key] for described in result["sources"].values())
    foreign = [
        coverage.refusal(name, work.knowledge(name).path)
        for name, described in result["sources"].items()
        if described[COVERAGE]
        and described[COVERAGE]["ids"]
        and not described[COVERAGE]["covered_ids"]
    ]
    if foreign:
        raise CommandError("\n".join(foreign), result)
    if strict:
        refuse_rejected(built_directories(scenario, names), result)
    return result


def built_directories(scenario: Scenario, sources: Sequence[str]) -> list[StepDirectory]:
    """Folders of the steps that `encode` runs for some sources, the earlier steps' first."""
    work = WorkDirectory(scenario.work_dir)
    return [
        *(groups_directory(scenario, name) for name in with_grouping(scenario, sources)),
        *map(work.links, with_links(scenario, sources)),
        *map(work.knowledge, sources),
    ]


def default_sources(scenario: Scenario) -> list[str]:
    """`knowledge.sources`, and those of knowledge match and knowledge prior when they are on.

    What `model.adapter` says makes no difference: several arms, some of them without the adapter,
    are trained on one work directory.
    """
    return list(dict.fromkeys([*scenario.knowledge.sources, *scenario.knowledge_sources()]))


def _dry_run(scenario: Scenario, names: Sequence[str], force: bool) -> list[dict[str, Any]]:
    """What a dry run says; groups and links that would be made first come first."""
    pending, unlinked = unfinished_groups(scenario, names), unfinished_links(scenario, names)
    coverage = LogCoverage(scenario)
    results = make_groups(scenario, sources=pending, dry_run=True)["sources"] if pending else []
    results += link(scenario, sources=unlinked, dry_run=True)["sources"] if unlinked else []
    unmade = [str(groups_directory(scenario, source).path / GROUPS_FILE) for source in pending]
    scenario = scenario.model_copy(update={"split": needed_split(scenario)})
    for name in names:
        directory = WorkDirectory(scenario.work_dir).knowledge(name)
        if name in unlinked or groups_file(scenario, name) in unmade:
            first = "names are linked" if name in unlinked else "groups are made"
            say(f"encode {name}: would run when its {first}; writes {directory.path}")
            waiting = {"step": f"encode {name}", "dry_run": True, "would_skip": False}
            results.append({**waiting, "inputs": {}, "output": str(directory.path)})
        else:
            step = _step(scenario, plan_source(scenario, name), coverage, BeamOptions())
            results.append(step.dry_run(force))
    return results


def _step(scenario: Scenario, plan: SourcePlan, coverage: LogCoverage, beam: BeamOptions) -> Step:
    directory = WorkDirectory(scenario.work_dir).knowledge(plan.source)
    source_build = SourceBuild(scenario, plan.source, plan.tables, coverage, beam)

    def report(run: StepRun) -> dict[str, Any]:
        counts, vectors = run.manifest["counts"], run.manifest["vectors"]
        rate = None if run.skipped else round(counts["records_out"] / run.seconds, 1)
        result = {
            **counts,
            **source_build.effort,
            "dimension": vectors["dimension"],
            "answers_per_second": rate,
        }
        say(_progress_line(plan, result, vectors, run))
        for reason, count in result["rejected_by_reason"].items():
            say(f"  {count:,} {reason}: {meaning_of(reason)}")
        for table in ("interactions", "catalogue"):
            if table in result and result[table]["dead_letters"]:
                say(f"  {result[table]['dead_letters']:,} rows of the {table} rejected")
        result[COVERAGE] = coverage.tell(plan.source, directory.path, run.manifest)
        return result

    return Step(
        name=f"encode {plan.source}",
        directory=directory,
        settings=plan.settings,
        inputs=plan.inputs,
        forgotten=Forgotten.of(scenario.work_dir),
        build=source_build.build,
        report=report,
    )


def _progress_line(
    plan: SourcePlan, result: dict[str, Any], vectors: dict[str, Any], run: StepRun
) -> str:
    step = f"encode {plan.source}"
    described = (
        f"{result['knowledge_records']:,} vectors of width {vectors['dimension']}, median norm "
        f"{vectors['norms']['median']:.3g}"
    )
    if run.skipped:
        return f"{step}: unchanged, skipped ({described})"
    noun = "answers" if "texts" in result and plan.tables.catalogue is None else "records"
    effort = ""
    if "texts" in result:
        effort = (
            f"; {result['texts_encoded']:,} texts encoded, {result['texts_from_cache']:,} from the "
            "cache"
        )
    if result["tokens"]:
        effort += f", {result['tokens']:,} tokens"
    if result.get("answers_without_history"):
        effort += f"; {result['answers_without_history']:,} prompts without a history"
    read = f"{result['records_in']:,} {noun}, {result['dead_letters']:,} rejected"
    if result["other_sources"]:
        read += f", {result['other_sources']:,} of other sources"
    return (
        f"{step}: {read} -> "
        f"{described} ({result['individual_entities']:,} individual, "
        f"{result['collective_entities']:,} collective{effort}) in {run.seconds:.1f} s, "
        f"{result['answers_per_second']:.0f} {noun}/s"
    )
