"""The step `examples`: interactions and catalogue to CTR examples, attributes and vocabularies."""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path
from typing import Any

from configs.command_line import CommandError, say
from configs.loading import config_hash
from configs.scenario import Data, Scenario, Section, SourceAnswers, Split
from preprocessing.beam_options import BeamOptions
from preprocessing.beam_runner import run_pipeline
from preprocessing.csv_blocks import read_header, require_columns
from preprocessing.dead_letters import count_by_reason
from preprocessing.gathering import total
from preprocessing.hashing import room_version
from preprocessing.inputs import fingerprint_inputs
from preprocessing.interactions import leak_check
from preprocessing.interactions.catalogue import catalogue_columns
from preprocessing.interactions.pipeline import ExamplesPlan, build_pipeline
from preprocessing.interactions.schema import write_schema
from preprocessing.names import require_attribute_names
from preprocessing.records import contract
from preprocessing.records.layout import ExamplesDirectory, WorkDirectory
from preprocessing.records.settings import SETTINGS, examples_settings
from preprocessing.steps import StepIdentity, describe_step, refuse_rejected, run_step

_INPUT_BYTES_PER_SHARD = 16 << 20
_FEWEST_SHARDS = 2
_STATISTICS = "statistics.json"


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
      examples and `dead_letters` were rejected: the two add up to `records_in`. Of `records_out`,
      `samples` are samples and `history_only` come before k_u and live on in histories only.
      `catalogue` counts catalogue rows in the same way. `leak_check` names the sources of
      `knowledge.answers` for which nothing shows that the LLM saw only interactions before k_u.

    Raises:
      ConfigurationError: a file or a mapped column does not exist, or a name is not allowed.
      CommandError: an input file is cut off, or a sample was seen by the LLM (leak rule).
      RejectedInput: `strict` and there are dead letters.
    """
    start = time.monotonic()
    relevant = _relevant_sections(scenario)
    inputs = fingerprint_inputs(_input_files(scenario, relevant))
    headers = _headers(scenario)
    identity = StepIdentity("examples", config_hash(relevant), room_version(), inputs)
    directory = WorkDirectory(scenario.work_dir).examples
    if dry_run:
        return describe_step(directory, identity, force)
    build = functools.partial(_build, scenario, headers, beam or BeamOptions())
    manifest, skipped = run_step(directory, identity, build, force)
    seconds, counts = time.monotonic() - start, manifest["counts"]
    say(_progress_line(counts, seconds, skipped))
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
    files[scenario.data.interactions.path] = "data.interactions.path"
    files[scenario.data.catalogue.path] = "data.catalogue.path"
    return files


def _headers(scenario: Scenario) -> tuple[list[str], list[str]]:
    """Column names of interactions and catalogue; the mapped columns are there."""
    interactions, catalogue = scenario.data.interactions, scenario.data.catalogue
    require_attribute_names(catalogue)
    interaction_header = read_header(interactions.path, "data.interactions.path")
    mapped = {
        f"data.interactions.columns.{name}": column
        for name, column in interactions.columns.model_dump().items()
    }
    require_columns(interaction_header, mapped, interactions.path)
    catalogue_header = read_header(catalogue.path, "data.catalogue.path")
    require_columns(catalogue_header, catalogue_columns(catalogue), catalogue.path)
    return interaction_header, catalogue_header


def _build(
    scenario: Scenario, headers: tuple[list[str], list[str]], beam: BeamOptions, folder: Path
) -> dict[str, Any]:
    directory = ExamplesDirectory(folder)
    input_bytes = Path(scenario.data.interactions.path).stat().st_size
    plan = ExamplesPlan(
        data=scenario.data,
        split=scenario.split,
        knowledge=scenario.knowledge,
        interaction_header=headers[0],
        catalogue_header=headers[1],
        shards=max(_FEWEST_SHARDS, -(-input_bytes // _INPUT_BYTES_PER_SHARD)),
        folder=folder,
    )
    statistics_path = folder / _STATISTICS
    run_pipeline(lambda pipeline: build_pipeline(pipeline, plan, statistics_path), beam)
    statistics = json.loads(statistics_path.read_text(encoding="utf-8"))
    statistics_path.unlink()
    write_schema(directory.schema, scenario.data.history_length)
    return _describe(scenario, statistics, directory)


def _describe(
    scenario: Scenario, statistics: list[dict[str, Any]], directory: ExamplesDirectory
) -> dict[str, Any]:
    """What the manifest says about the result.

    Raises:
      CommandError: the leak check found a violation.
    """
    shards = sorted(
        (entry for entry in statistics if "shard" in entry), key=lambda entry: entry["shard"]
    )
    (summary,) = (entry for entry in statistics if "items" in entry)
    leaks = [shard["leaks"] for shard in shards]
    _refuse_leaks(leaks)
    uncounted = _add_up([leak["uncounted_answers"] for leak in leaks])
    rejected = count_by_reason(directory.dead_letters)
    interaction_reasons = rejected.get(scenario.data.interactions.path, {})
    catalogue_reasons = rejected.get(scenario.data.catalogue.path, {})
    parts = {part: sum(shard["samples"][part] for shard in shards) for part in contract.PARTS}
    counts = {
        "records_in": total(statistics, "interactions"),
        "records_out": sum(parts.values()) + total(shards, "history_only"),
        "samples": sum(parts.values()),
        "history_only": total(shards, "history_only"),
        "dead_letters": sum(interaction_reasons.values()),
        "rejected_by_reason": interaction_reasons,
        "parts": parts,
        "users": total(shards, "users"),
        "training_interactions": total(shards, "training_interactions"),
        "items": summary["items"],
        "items_outside_catalogue": summary["items_outside_catalogue"],
        "vocabularies": summary["vocabularies"],
        "catalogue": {
            "records_in": total(statistics, "catalogue_records"),
            "records_out": summary["catalogue_items"],
            "dead_letters": sum(catalogue_reasons.values()),
            "rejected_by_reason": catalogue_reasons,
            "unreadable_numbers": summary["unreadable_numbers"],
        },
        "leak_violations": total(leaks, "violations"),
        "leak_check": {
            "users_verified_by_prompt": total(leaks, "users_verified_by_prompt"),
            "users_by_rule_only": total(leaks, "users_by_rule_only"),
            "answers_without_counted_prompt": uncounted,
            "unverified_sources": sorted(
                {*leak_check.uncountable_sources(scenario.knowledge), *uncounted}
            ),
        },
    }
    _require_reconciled(counts)
    return {
        SETTINGS: examples_settings(scenario),
        "counts": counts,
        "shards": [{"shard": shard["shard"], "samples": shard["samples"]} for shard in shards],
        "schema": {
            feature.name: {"type": feature.type.value, "list": feature.is_list}
            for feature in contract.EXAMPLE_FEATURES
        },
    }


def _add_up(counts_by_source: list[dict[str, int]]) -> dict[str, int]:
    sources = {source for counts in counts_by_source for source in counts}
    return {source: total(counts_by_source, source) for source in sorted(sources)}


def _refuse_leaks(leaks: list[dict[str, Any]]) -> None:
    violations = total(leaks, "violations")
    if violations:
        examples = [example for leak in leaks for example in leak["examples"]]
        shown = "\n  ".join(examples[: leak_check.MAXIMUM_EXAMPLES])
        raise CommandError(
            f"leak rule: prompts showed {violations} samples to the LLM (ids are hashed):\n"
            f"  {shown}\n"
            "Set split.knowledge_history_cap to what the prompts were made with, or make the "
            "answers again from each user's first k_u interactions"
        )


def _progress_line(counts: dict[str, Any], seconds: float, skipped: bool) -> str:
    if skipped:
        return f"examples: unchanged, skipped ({counts['samples']:,} samples)"
    parts = ", ".join(f"{part} {count:,}" for part, count in counts["parts"].items())
    unverified = ", ".join(counts["leak_check"]["unverified_sources"]) or "none"
    return (
        f"examples: {counts['records_in']:,} interactions, {counts['dead_letters']:,} rejected -> "
        f"{counts['samples']:,} samples ({parts}), {counts['history_only']:,} history only, "
        f"{counts['items']:,} items, {counts['leak_violations']} leaks "
        f"(unverified sources: {unverified}) in {seconds:.1f} s"
    )


def _require_reconciled(counts: dict[str, Any]) -> None:
    accounted = counts["records_out"] + counts["dead_letters"]
    catalogue = counts["catalogue"]
    if (
        counts["records_in"] != accounted
        or catalogue["records_in"] != catalogue["records_out"] + catalogue["dead_letters"]
    ):
        raise AssertionError(f"records were lost or counted twice: {counts}")
