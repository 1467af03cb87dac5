"""The step `examples`: from interactions, catalogue and profiles to TFRecords."""

from __future__ import annotations

import functools
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from configs.command_line import say
from configs.data import Data
from configs.knowledge import Knowledge
from configs.scenario import Scenario
from preprocessing import storage
from preprocessing.beam_options import BeamOptions
from preprocessing.beam_runner import run_pipeline, worker_folder
from preprocessing.beam_sinks import read_statistics
from preprocessing.examples_manifest import (
    describe_examples,
    progress_line,
    require_consistent_settings,
    thin_parts,
    unknown_parts,
    unread_rows,
)
from preprocessing.inputs import input_checksums
from preprocessing.interactions import leak_check
from preprocessing.interactions.catalogue import open_catalogue, open_profiles
from preprocessing.interactions.filtering import filter_log
from preprocessing.interactions.leak_check import digest_seen_prompts
from preprocessing.interactions.pipeline import build_pipeline
from preprocessing.interactions.reading import open_interactions
from preprocessing.interactions.shard import ExamplesPlan, shards_of_log, write_schema
from preprocessing.interactions.shown_entries import PromptWording
from preprocessing.missing_answers import missing_answers, needed_split, tell_missing_answers
from preprocessing.records.contract import features_of
from preprocessing.records.coverage import tell_table_coverage
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.layout import ExamplesDirectory, WorkDirectory
from preprocessing.steps import Step, StepRun, refuse_rejected
from preprocessing.tables.blocks import expand_paths
from preprocessing.tables.table_reader import TableReader

_SCRATCH = "scratch"


def build_examples(
    scenario: Scenario,
    *,
    strict: bool = False,
    force: bool = False,
    dry_run: bool = False,
    beam: BeamOptions | None = None,
) -> dict[str, Any]:
    """Writes `examples/` of the work directory.

    Args:
      scenario: the scenario.
      strict: raise RejectedInput when records were rejected.
      force: build even if a finished result is there.
      dry_run: only say what would be done.
      beam: runner and options.

    Returns:
      Counts for programs. `records_in` interactions were read; `records_out` of them went into the
      examples, `filtered_out` fell to `data.filter` and `dead_letters` were rejected: the three add
      up to `records_in`. Of `records_out`, `history_only` come before k_u and live on in histories
      only; the others are samples. `samples` counts them and the `sampled_negatives` beside them,
      `parts` the same by part, `positives` those with label 1, `examples` the records of each kind.
      `catalogue` and `profiles` count their rows in the same way as interactions, and
      `coverage` says how many items of the log the catalogue has, and how many of its users the
      profiles have. `leak_check` names the sources of `knowledge.answers` for which nothing shows
      that the LLM saw only interactions before k_u. `missing_answers` are the sources whose answers
      are not there yet.

    Raises:
      ConfigurationError: a file or a mapped column does not exist, a name is not allowed, or
        settings do not go together.
      CommandError: an input file is cut off, a sample was seen by the LLM (leak rule), no item of
        the log is in the catalogue, no user of it in the profiles, or no sample is left.
      RejectedInput: `strict` and there are dead letters.
    """
    start = time.monotonic()
    require_consistent_settings(scenario.data, scenario.split)
    missing = missing_answers(scenario)
    scenario = _with_answers_at_hand(scenario, missing)
    checked = leak_check.checked_sources(scenario.knowledge)
    prompts = leak_check.NOTHING_TO_LOOK_UP
    if checked:
        rated = scenario.data.interactions.columns.rating is not None
        wording = PromptWording.of(scenario.prompts, rated)
        prompts = leak_check.prompt_check(scenario.knowledge, wording)
    answer_files = _answer_files(scenario.knowledge, checked)
    checksums = input_checksums(answer_files | _table_files(scenario.data))
    inputs = {path: checksums[path] for path in _table_files(scenario.data)}
    tables = _open_tables(scenario)
    seen_interactions = digest_seen_prompts(scenario.knowledge.answers, checked)
    directory = WorkDirectory(scenario.work_dir).examples

    def report(run: StepRun) -> dict[str, Any]:
        counts = run.manifest["counts"]
        say(progress_line(counts, run.seconds, run.skipped))
        tell_missing_answers(scenario, missing)
        for table, coverage in counts["coverage"].items():
            tell_table_coverage(scenario, table, coverage)
        unknown = unknown_parts(counts, directory.dead_letters)
        for warning in [
            *([unknown] if unknown else []),
            *unread_rows(counts, directory.dead_letters),
            *thin_parts(counts),
        ]:
            say(f"examples: warning: {warning}")
        return {"step": "examples", **counts, "missing_answers": list(missing)}

    step = Step(
        name="examples",
        directory=directory,
        # Of the answers that is what the leak check uses, so that other answers to the same
        # prompts, or another source of knowledge, leave finished examples as they are.
        settings={
            "data": scenario.data.model_copy(update={"warn_coverage_below": 0.0}),
            "split": scenario.split,
            "prompts": prompts,
            "seen_interactions": seen_interactions,
            "unverifiable_sources": leak_check.unverifiable_sources(scenario.knowledge),
            "declared_sources": dict(leak_check.declared_sources(scenario.knowledge)),
        },
        inputs=inputs,
        forgotten=Forgotten.of(scenario.work_dir),
        build=functools.partial(
            _build, scenario, tables, beam or BeamOptions(), prompts, seen_interactions
        ),
        report=report,
    )
    if dry_run:
        tell_missing_answers(scenario, missing)
        return step.dry_run(force) | {
            "tables": _described(tables),
            "missing_answers": list(missing),
        }
    result = step.run(force, start)
    if strict:
        refuse_rejected([directory], result)
    return result


def _with_answers_at_hand(scenario: Scenario, missing: Collection[str]) -> Scenario:
    """The scenario as examples are made of it: answers that are missing showed an LLM nothing."""
    answers = scenario.knowledge.answers
    there = {source: answers[source] for source in answers if source not in missing}
    knowledge = scenario.knowledge.model_copy(update={"answers": there})
    return scenario.model_copy(update={"split": needed_split(scenario), "knowledge": knowledge})


def _answer_files(knowledge: Knowledge, sources: Iterable[str]) -> dict[str, str]:
    """Answer file -> the key that names it, of some sources."""
    return {
        path: f"knowledge.answers.{source}.individual"
        for source in sources
        for path in knowledge.answers[source].individual
    }


def _table_files(data: Data) -> dict[str, str]:
    """File of a table -> the key that names it."""
    tables = {"data.interactions.path": data.interactions, "data.catalogue.path": data.catalogue}
    if data.profiles:
        tables["data.profiles.path"] = data.profiles
    files: dict[str, str] = {}
    for key, table in tables.items():
        files |= dict.fromkeys(expand_paths(table.paths, key), key)
    return files


def _open_tables(scenario: Scenario) -> tuple[TableReader, TableReader, TableReader | None]:
    """Interactions, catalogue and, if there are any, profiles; the mapped columns are there."""
    data, forgotten = scenario.data, Forgotten.of(scenario.work_dir)
    return (
        open_interactions(data, scenario.split).without(forgotten),
        open_catalogue(data.catalogue).without(forgotten),
        open_profiles(data.profiles).without(forgotten) if data.profiles else None,
    )


def _described(
    tables: tuple[TableReader, TableReader, TableReader | None],
) -> dict[str, dict[str, list[str]]]:
    """What a dry run says about the columns of each table, to people and to programs."""
    described = {}
    names = ("data.interactions", "data.catalogue", "data.profiles")
    for name, table in zip(names, tables, strict=True):
        if table is not None:
            there = dict.fromkeys(column for file in table.files for column in file.columns)
            others = [column for column in there if column not in table.columns]
            described[name] = {"columns": list(table.columns), "other_columns": others}
            unread = f"; not read: {', '.join(others)}" if others else ""
            say(f"  {name}: {', '.join(table.names)}: columns {', '.join(table.columns)}{unread}")
    return described


def _build(
    scenario: Scenario,
    tables: tuple[TableReader, TableReader, TableReader | None],
    beam: BeamOptions,
    prompts: leak_check.PromptCheck,
    seen_interactions: Mapping[str, str],
    folder: Path,
) -> dict[str, Any]:
    data = scenario.data
    interactions, catalogue, profiles = tables
    filtered = None
    beam = beam.for_input(interactions.stored_bytes)
    with worker_folder(folder, beam.staging) as seen_by_workers:
        plan = ExamplesPlan(
            data=data,
            split=scenario.split,
            knowledge=_with_absolute_paths(scenario.knowledge),
            prompts=prompts,
            interactions=interactions,
            catalogue=catalogue,
            profiles=profiles,
            shards=shards_of_log(interactions, data),
            folder=seen_by_workers,
        )
        scratch = storage.join(seen_by_workers, _SCRATCH)
        if not data.filter.keeps_everything:
            filtered = filter_log(plan, storage.join(scratch, "filter"), beam)
        statistics_path = storage.join(scratch, "statistics.json")
        run_pipeline(
            lambda pipeline: build_pipeline(pipeline, plan, statistics_path, filtered), beam
        )
        statistics = read_statistics(statistics_path)
        storage.delete_folder(scratch)
    if filtered is not None:
        statistics += filtered.statistics
    directory = ExamplesDirectory(folder)
    for kind in data.examples:
        write_schema(directory.schema_of(kind), features_of(kind, data), data)
    described = describe_examples(scenario, plan, statistics, filtered, directory)
    return {
        **described,
        "seen_interactions": seen_interactions,
        leak_check.PROMPT_CHECK: _describe_prompt_check(scenario.knowledge, prompts),
    }


def _describe_prompt_check(knowledge: Knowledge, prompts: leak_check.PromptCheck) -> dict[str, Any]:
    """What `validate` needs to look the prompts up once more."""
    files = {
        source: {
            "individual": knowledge.answers[source].individual,
            "factor": knowledge.answers[source].factor,
        }
        for source in prompts.sources
    }
    return {**prompts.model_dump(mode="json"), "answers": files}


def _with_absolute_paths(knowledge: Knowledge) -> Knowledge:
    """The same, with answer files that workers find whatever their current folder."""
    answers = {
        source: files.model_copy(
            update={"individual": [storage.absolute(path) for path in files.individual]}
        )
        for source, files in knowledge.answers.items()
    }
    return knowledge.model_copy(update={"answers": answers})
