"""The step `encode`: LLM answers to knowledge vectors, one TFRecord per entity of each source."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.command_line import CommandError, say
from configs.loading import ConfigurationError, config_hash
from configs.scenario import Encoder, Scenario, Section, SourceAnswers
from preprocessing.beam_options import BeamOptions
from preprocessing.beam_runner import run_pipeline
from preprocessing.csv_blocks import read_header, require_columns
from preprocessing.dead_letters import count_by_reason, read_dead_letters, write_dead_letters
from preprocessing.encoders.registry import encoder_class
from preprocessing.gathering import total
from preprocessing.hashing import room_version
from preprocessing.inputs import fingerprint_inputs
from preprocessing.knowledge.accepting import (
    AnswerFile,
    accepted_file,
    build_accepting_pipeline,
    read_accepted,
)
from preprocessing.knowledge.all_rejected import no_usable_answer
from preprocessing.knowledge.encoding import EncodingPlan, build_encoding_pipeline
from preprocessing.knowledge.groups import entity_column
from preprocessing.names import require_plain_name
from preprocessing.records import contract
from preprocessing.records.layout import KnowledgeDirectory, WorkDirectory
from preprocessing.records.settings import SETTINGS, knowledge_settings
from preprocessing.steps import StepIdentity, describe_step, refuse_rejected, run_step

_SCRATCH = "scratch"


class _RelevantSections(Section):
    """The parts of a scenario that a source's knowledge vectors depend on."""

    source: str
    answers: SourceAnswers
    encoder: Encoder
    shards: int


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
      rejected: the two add up to `records_in`. `knowledge_records` TFRecords were written, one per
      entity.

    Raises:
      ConfigurationError: a source is unknown, or a file or a column does not exist.
      CommandError: an input file is cut off, every answer of a source was rejected, or the encoder
        cannot work.
      RejectedInput: `strict` and there are dead letters.
    """
    start = time.monotonic()
    names = default_sources(scenario) if sources is None else list(dict.fromkeys(sources))
    prepared = [(name, *_prepare(scenario, name)) for name in names]
    work = WorkDirectory(scenario.work_dir)
    if dry_run:
        plans = [
            describe_step(work.knowledge(name), identity, force) for name, identity, _ in prepared
        ]
        return {"step": "encode", "dry_run": True, "sources": plans}
    results = {
        name: _encode_source(scenario, name, identity, header, force, beam or BeamOptions())
        for name, identity, header in prepared
    }
    totals = {
        key: sum(result[key] for result in results.values())
        for key in ("records_in", "records_out", "dead_letters", "knowledge_records")
    }
    result = {
        "step": "encode",
        **totals,
        "seconds": round(time.monotonic() - start, 3),
        "skipped": all(result["skipped"] for result in results.values()),
        "sources": results,
    }
    if strict:
        refuse_rejected([work.knowledge(name) for name in names], result)
    return result


def default_sources(scenario: Scenario) -> list[str]:
    """`knowledge.sources`, and the match source when `model.match` is on.

    What `model.adapter` says makes no difference: several arms, some of them without the adapter,
    are trained on one work directory.
    """
    match = [] if scenario.model.match == "none" else [scenario.model.knowledge_match.source]
    return list(dict.fromkeys([*scenario.knowledge.sources, *match]))


def _prepare(scenario: Scenario, source: str) -> tuple[StepIdentity, list[str]]:
    """Checks a source's configuration; its identity and the column names of its groups file."""
    if source not in scenario.knowledge.answers:
        known = ", ".join(sorted(scenario.knowledge.answers))
        raise ConfigurationError(
            f"there is no source '{source}' under knowledge.answers (there: {known})"
        )
    require_plain_name("knowledge.answers", source)
    answers = scenario.knowledge.answers[source]
    key = f"knowledge.answers.{source}"
    files = {path: f"{key}.individual" for path in answers.individual}
    files |= {path: f"{key}.collective" for path in answers.collective}
    if answers.groups:
        files[answers.groups] = f"{key}.groups"
    inputs = fingerprint_inputs(files)
    header: list[str] = []
    if answers.groups:
        header = read_header(answers.groups, f"{key}.groups")
        columns = (entity_column(answers.entity), contract.GROUP_ID)
        require_columns(
            header, {f"{key}.groups ({name})": name for name in columns}, answers.groups
        )
    relevant = _RelevantSections(
        source=source,
        answers=answers,
        encoder=scenario.knowledge.encoder,
        shards=scenario.knowledge.shards,
    )
    identity = StepIdentity(f"encode {source}", config_hash(relevant), room_version(), inputs)
    return identity, header


def _encode_source(
    scenario: Scenario,
    source: str,
    identity: StepIdentity,
    header: list[str],
    force: bool,
    beam: BeamOptions,
) -> dict[str, Any]:
    start = time.monotonic()
    directory = WorkDirectory(scenario.work_dir).knowledge(source)
    build = functools.partial(_build, scenario, source, header, beam)
    manifest, skipped = run_step(directory, identity, build, force)
    seconds = time.monotonic() - start
    counts = manifest["counts"]
    rate = None if skipped else round(counts["records_out"] / seconds, 1)
    say(_progress_line(identity.step, counts, seconds, rate))
    return {**counts, "seconds": round(seconds, 3), "answers_per_second": rate, "skipped": skipped}


def _progress_line(step: str, counts: dict[str, Any], seconds: float, rate: float | None) -> str:
    if rate is None:
        return f"{step}: unchanged, skipped ({counts['knowledge_records']:,} vectors)"
    return (
        f"{step}: {counts['records_in']:,} answers, {counts['dead_letters']:,} rejected -> "
        f"{counts['knowledge_records']:,} vectors ({counts['individual_entities']:,} individual, "
        f"{counts['collective_entities']:,} collective) in {seconds:.1f} s, {rate:.0f} answers/s"
    )


def _build(
    scenario: Scenario, source: str, header: list[str], beam: BeamOptions, folder: Path
) -> dict[str, Any]:
    answers, encoder = scenario.knowledge.answers[source], scenario.knowledge.encoder
    shards = scenario.knowledge.shards
    scratch = folder / _SCRATCH
    scratch.mkdir()
    paths = [(path, contract.INDIVIDUAL) for path in answers.individual]
    paths += [(path, contract.COLLECTIVE) for path in answers.collective]
    files = [AnswerFile(order, path, extraction) for order, (path, extraction) in enumerate(paths)]
    letters = [scratch / "accepting.jsonl", scratch / "encoding.jsonl"]
    counts = [scratch / "accepting.json", scratch / "encoding.json"]
    run_pipeline(
        lambda pipeline: build_accepting_pipeline(
            pipeline, source, files, shards, scratch, letters[0], counts[0]
        ),
        beam,
    )
    texts = [
        answer.text
        for shard in range(shards)
        for answer in read_accepted(accepted_file(scratch, shard))
    ]
    if not texts:
        raise _no_usable_answer(source, answers, letters[:1])
    described = encoder_class(encoder.kind).prepare(encoder, texts, folder)
    if described["dimension"] < described.get("requested_dimension", 0):
        say(
            f"encode {source}: vectors of width {described['dimension']} instead of "
            f"{encoder.dimension}: {len(texts)} answers hold no more"
        )
    plan = EncodingPlan(
        encoder=encoder,
        texts=len(texts),
        entity=answers.entity,
        groups=answers.groups,
        groups_header=header,
        shards=shards,
        accepted=scratch,
        folder=folder,
    )
    run_pipeline(
        lambda pipeline: build_encoding_pipeline(pipeline, plan, letters[1], counts[1]), beam
    )
    directory = KnowledgeDirectory(folder)
    write_dead_letters(
        directory.dead_letters, (letter for path in letters for letter in read_dead_letters(path))
    )
    statistics = [
        entry for path in counts for entry in json.loads(path.read_text(encoding="utf-8"))
    ]
    if not total(statistics, "encoded"):
        raise _no_usable_answer(source, answers, letters)
    for path in scratch.iterdir():
        path.unlink()
    scratch.rmdir()
    settings = {SETTINGS: knowledge_settings(scenario, source)}
    return settings | _describe(answers, statistics, directory, described)


def _no_usable_answer(
    source: str, answers: SourceAnswers, dead_letter_files: list[Path]
) -> CommandError:
    files = [*answers.individual, *answers.collective]
    letters = (letter for path in dead_letter_files for letter in read_dead_letters(path))
    rejected = [letter for letter in letters if letter["file"] in files]
    return no_usable_answer(source, files, rejected)


def _describe(
    answers: SourceAnswers,
    statistics: list[dict[str, Any]],
    directory: KnowledgeDirectory,
    encoder: dict[str, Any],
) -> dict[str, Any]:
    rejected = count_by_reason(directory.dead_letters)
    group_reasons = rejected.pop(answers.groups, {}) if answers.groups else {}
    reasons: dict[str, int] = {}
    for counted in rejected.values():
        for reason, count in counted.items():
            reasons[reason] = reasons.get(reason, 0) + count
    shards = sorted(
        (entry for entry in statistics if "shard" in entry), key=lambda entry: entry["shard"]
    )
    group_rows, group_letters = total(statistics, "group_rows"), sum(group_reasons.values())
    counts: dict[str, Any] = {
        "records_in": total(statistics, "read"),
        "records_out": total(statistics, "encoded"),
        "dead_letters": sum(reasons.values()),
        "rejected_by_reason": dict(sorted(reasons.items())),
        "knowledge_records": total(shards, "records"),
        "individual_entities": total(statistics, "individual_entities"),
        "collective_entities": total(statistics, "collective_entities"),
        "entities_without_answer": total(statistics, "entities_without_answer"),
        "unused_group_answers": total(statistics, "unused_group_answers"),
        "groups": {
            "records_in": group_rows,
            "records_out": group_rows - group_letters,
            "dead_letters": group_letters,
            "rejected_by_reason": group_reasons,
        },
    }
    if (
        counts["records_in"] != counts["records_out"] + counts["dead_letters"]
        or counts["knowledge_records"]
        != counts["individual_entities"] + counts["collective_entities"]
    ):
        raise AssertionError(f"records were lost or counted twice: {counts}")
    return {
        "counts": counts,
        "encoder": encoder,
        "shards": shards,
        "schema": {
            feature.name: {"type": feature.type.value, "list": feature.is_list}
            for feature in contract.KNOWLEDGE_FEATURES
        },
    }
