"""The step `encode`: LLM answers to knowledge vectors, one TFRecord per entity of each source."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.command_line import say
from configs.knowledge import Encoder, SourceAnswers
from configs.loading import ConfigurationError, config_hash
from configs.scenario import Scenario
from configs.section import Section
from preprocessing.beam_options import BeamOptions
from preprocessing.grouping.location import GROUPS_FILE, groups_directory, groups_file
from preprocessing.grouping.needed import make_needed_groups, unfinished_groups
from preprocessing.grouping.step import make_groups
from preprocessing.hashing import room_version
from preprocessing.inputs import fingerprint_inputs
from preprocessing.knowledge.asked_sources import other_sources
from preprocessing.knowledge.building import SourceBuild
from preprocessing.knowledge.groups import open_groups
from preprocessing.knowledge.reasons import meaning_of
from preprocessing.knowledge.vector_files.registry import vector_files
from preprocessing.names import require_plain_name
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.settings import WITHOUT_EFFECT, groups_settings
from preprocessing.steps import StepIdentity, describe_step, refuse_rejected, run_step
from preprocessing.tables.table_reader import TableReader


class _RelevantSections(Section):
    """The parts of a scenario that a source's knowledge vectors depend on."""

    source: str
    answers: SourceAnswers
    other_sources: list[str]
    encoder: dict[str, object] | None
    groups: dict[str, object]
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

    Groups that are made here (`grouping`) are made first, unless they are finished.

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
      paid endpoint counted.

    Raises:
      ConfigurationError: a source is unknown, or a file or a column does not exist.
      CommandError: an input file is cut off, every answer of a source was rejected, or the encoder
        cannot work.
      RejectedInput: `strict` and there are dead letters.
    """
    start = time.monotonic()
    names = default_sources(scenario) if sources is None else list(dict.fromkeys(sources))
    work = WorkDirectory(scenario.work_dir)
    if dry_run:
        return {"step": "encode", "dry_run": True, "sources": _plans(scenario, names, force)}
    make_needed_groups(scenario, names)
    prepared = [(name, *_prepare(scenario, name)) for name in names]
    results = {
        name: _encode_source(scenario, name, identity, groups, force, beam or BeamOptions())
        for name, identity, groups in prepared
    }
    totals = {
        key: sum(result[key] for result in results.values())
        for key in (
            *("records_in", "records_out", "dead_letters", "other_sources", "knowledge_records"),
            *("texts_encoded", "texts_from_cache", "tokens"),
        )
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


def _plans(scenario: Scenario, names: Sequence[str], force: bool) -> list[dict[str, Any]]:
    """What a dry run says; groups that would be made first come first."""
    pending = unfinished_groups(scenario, names)
    plans = make_groups(scenario, sources=pending, dry_run=True)["sources"] if pending else []
    missing = [str(groups_directory(scenario, source).path / GROUPS_FILE) for source in pending]
    for name in names:
        directory = WorkDirectory(scenario.work_dir).knowledge(name)
        if groups_file(scenario, name) in missing:
            say(f"encode {name}: would run when its groups are made; writes {directory.path}")
            waiting = {"step": f"encode {name}", "dry_run": True, "would_skip": False}
            plans.append({**waiting, "inputs": {}, "output": str(directory.path)})
        else:
            plans.append(describe_step(directory, _prepare(scenario, name)[0], force))
    return plans


def _prepare(scenario: Scenario, source: str) -> tuple[StepIdentity, TableReader | None]:
    """Checks a source's configuration; its identity and the reader of its groups file."""
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
    vector_files(answers.vectors, f"{key}.vectors")
    files |= {path: f"{key}.vectors" for path in answers.vectors}
    path = groups_file(scenario, source)
    if path is not None:
        files[path] = f"{key}.groups"
    encoder = None
    if not answers.vectors:
        settings = scenario.knowledge.encoder
        files |= {path: "knowledge.encoder.model" for path in _model_files(settings)}
        encoder = settings.model_dump(mode="json", exclude=WITHOUT_EFFECT)
    inputs = fingerprint_inputs(files)
    groups = None if path is None else open_groups(path, answers.entity, f"{key}.groups")
    others = () if answers.vectors else other_sources(scenario.knowledge.answers, source)
    relevant = _RelevantSections(
        source=source,
        answers=answers,
        other_sources=sorted(others),
        encoder=encoder,
        groups=groups_settings(scenario, source),
        shards=scenario.knowledge.shards,
    )
    identity = StepIdentity(f"encode {source}", config_hash(relevant), room_version(), inputs)
    return identity, groups


def _model_files(encoder: Encoder) -> list[str]:
    """Files of a model in a local folder: other contents make other vectors."""
    folder = Path(encoder.model or "")
    if encoder.kind != "sentence-transformers" or encoder.model is None or not folder.is_dir():
        return []
    return sorted(str(path) for path in folder.rglob("*") if path.is_file())


def _encode_source(
    scenario: Scenario,
    source: str,
    identity: StepIdentity,
    groups: TableReader | None,
    force: bool,
    beam: BeamOptions,
) -> dict[str, Any]:
    start = time.monotonic()
    directory = WorkDirectory(scenario.work_dir).knowledge(source)
    source_build = SourceBuild(scenario, source, groups, beam)
    manifest, skipped = run_step(directory, identity, source_build.build, force)
    seconds = time.monotonic() - start
    rate = None if skipped else round(manifest["counts"]["records_out"] / seconds, 1)
    result = {
        **manifest["counts"],
        **source_build.effort,
        "dimension": manifest["vectors"]["dimension"],
        "seconds": round(seconds, 3),
        "answers_per_second": rate,
        "skipped": skipped,
    }
    say(_progress_line(identity.step, result, manifest["vectors"]))
    for reason, count in result["rejected_by_reason"].items():
        say(f"  {count:,} {reason}: {meaning_of(reason)}")
    return result


def _progress_line(step: str, result: dict[str, Any], vectors: dict[str, Any]) -> str:
    described = (
        f"{result['knowledge_records']:,} vectors of width {vectors['dimension']}, median norm "
        f"{vectors['norms']['median']:.3g}"
    )
    if result["skipped"]:
        return f"{step}: unchanged, skipped ({described})"
    noun = "answers" if "texts" in result else "records"
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
        f"{result['collective_entities']:,} collective{effort}) in {result['seconds']:.1f} s, "
        f"{result['answers_per_second']:.0f} {noun}/s"
    )
