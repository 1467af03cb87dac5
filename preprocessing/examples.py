"""The step `examples`: from interactions, catalogue and profiles to TFRecords."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

from configs.command_line import say
from configs.knowledge import Knowledge, SourceAnswers
from configs.loading import config_hash
from configs.raw_data import Data, Split
from configs.scenario import Scenario
from configs.section import Section
from preprocessing import storage
from preprocessing.beam_options import BeamOptions
from preprocessing.beam_runner import run_pipeline
from preprocessing.examples_checks import require_consistent_settings
from preprocessing.examples_manifest import describe_examples, progress_line
from preprocessing.gathering import read_statistics
from preprocessing.hashing import room_version
from preprocessing.inputs import fingerprint_inputs
from preprocessing.interactions import leak_check
from preprocessing.interactions.catalogue import open_catalogue
from preprocessing.interactions.filtering import filter_log
from preprocessing.interactions.pipeline import build_pipeline
from preprocessing.interactions.plan import ExamplesPlan
from preprocessing.interactions.profiles import open_profiles
from preprocessing.interactions.reading import open_interactions
from preprocessing.interactions.schema import features_of, write_schema
from preprocessing.records.layout import ExamplesDirectory, WorkDirectory
from preprocessing.staging import worker_folder
from preprocessing.steps import StepIdentity, describe_step, refuse_rejected, run_step
from preprocessing.tables.files import expand_paths
from preprocessing.tables.table_reader import TableReader

_FEWEST_SHARDS = 2
_SCRATCH = "scratch"


class _RelevantSections(Section):
    """The parts of a scenario that examples depend on."""

    data: Data
    split: Split
    counted_answers: dict[str, SourceAnswers]
    uncountable_sources: list[str]


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
      `parts` the same by part, `examples` the records of each kind. `catalogue` and `profiles`
      count their rows in the same way as interactions. `leak_check` names the sources of
      `knowledge.answers` for which nothing shows that the LLM saw only interactions before k_u.

    Raises:
      ConfigurationError: a file or a mapped column does not exist, a name is not allowed, or
        settings do not go together.
      CommandError: an input file is cut off, or a sample was seen by the LLM (leak rule).
      RejectedInput: `strict` and there are dead letters.
    """
    start = time.monotonic()
    require_consistent_settings(scenario.data, scenario.split)
    relevant = _relevant_sections(scenario)
    inputs = fingerprint_inputs(_input_files(scenario, relevant))
    tables = _open_tables(scenario)
    identity = StepIdentity("examples", config_hash(relevant), room_version(), inputs)
    directory = WorkDirectory(scenario.work_dir).examples
    if dry_run:
        return describe_step(directory, identity, force)
    build = functools.partial(_build, scenario, tables, beam or BeamOptions())
    manifest, skipped = run_step(directory, identity, build, force)
    seconds, counts = time.monotonic() - start, manifest["counts"]
    say(progress_line(counts, seconds, skipped))
    result = {"step": "examples", **counts, "seconds": round(seconds, 3), "skipped": skipped}
    if strict:
        refuse_rejected([directory], result)
    return result


def _relevant_sections(scenario: Scenario) -> _RelevantSections:
    counted = leak_check.counted_sources(scenario.knowledge)
    return _RelevantSections(
        data=scenario.data,
        split=scenario.split,
        counted_answers={source: scenario.knowledge.answers[source] for source in counted},
        uncountable_sources=leak_check.uncountable_sources(scenario.knowledge),
    )


def _input_files(scenario: Scenario, relevant: _RelevantSections) -> dict[str, str]:
    files = {
        path: f"knowledge.answers.{source}.individual"
        for source, answers in relevant.counted_answers.items()
        for path in answers.individual
    }
    data = scenario.data
    tables = {"data.interactions.path": data.interactions, "data.catalogue.path": data.catalogue}
    if data.profiles:
        tables["data.profiles.path"] = data.profiles
    for key, table in tables.items():
        files |= dict.fromkeys(expand_paths(table.paths, key), key)
    return files


def _open_tables(scenario: Scenario) -> tuple[TableReader, TableReader, TableReader | None]:
    """Interactions, catalogue and, if there are any, profiles; the mapped columns are there."""
    data = scenario.data
    return (
        open_interactions(data.interactions, scenario.split),
        open_catalogue(data.catalogue),
        open_profiles(data.profiles) if data.profiles else None,
    )


def _build(
    scenario: Scenario,
    tables: tuple[TableReader, TableReader, TableReader | None],
    beam: BeamOptions,
    folder: Path,
) -> dict[str, Any]:
    data = scenario.data
    interactions, catalogue, profiles = tables
    shard_bytes = data.shard_megabytes << 20
    filtered = None
    beam = beam.for_input(interactions.stored_bytes)
    with worker_folder(folder, beam.staging) as seen_by_workers:
        plan = ExamplesPlan(
            data=data,
            split=scenario.split,
            knowledge=_with_absolute_paths(scenario.knowledge),
            interactions=interactions,
            catalogue=catalogue,
            profiles=profiles,
            shards=max(_FEWEST_SHARDS, -(-interactions.stored_bytes // shard_bytes)),
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
    return describe_examples(scenario, plan, statistics, filtered, directory)


def _with_absolute_paths(knowledge: Knowledge) -> Knowledge:
    """The same, with answer files that workers find whatever their current folder."""
    answers = {
        source: files.model_copy(
            update={"individual": [storage.absolute(path) for path in files.individual]}
        )
        for source, files in knowledge.answers.items()
    }
    return knowledge.model_copy(update={"answers": answers})
