"""The whole way: answers in, the next version out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from configs.command_line import CommandError, RejectedInput, say
from preprocessing.dead_letters import dead_letter, write_dead_letters
from preprocessing.knowledge.reasons import meaning_of
from serving.refresh.changes import SourceChange
from serving.refresh.encoding import encode_entries
from serving.refresh.incoming import REASONS, Entry, RecordPlace, Records
from serving.refresh.knowledge import VersionKnowledge
from serving.refresh.layout import RefreshFolder
from serving.refresh.reading import AnswerFiles, check_source, read_answers
from serving.refresh.stored_results import next_results
from serving.refresh.summands import write_summand
from serving.refresh.vector_reading import read_vectors, source_of_vectors
from serving.refresh.version_folder import BaseVersion, require_versions
from serving.version_publishing import NextVersion, Publisher, publishing

DEAD_LETTERS = "refresh_dead_letters.jsonl"

Encoded = dict[str, tuple[Sequence[Entry], np.ndarray]]
Rejected = Mapping[RecordPlace, tuple[str, str]]


@dataclass(frozen=True)
class RefreshRequest:
    """What is asked for.

    Attributes:
      base: model base path.
      answers: answer files.
      vectors: files of vectors made elsewhere.
      source: the source of files that do not name it.
      version: the version to go on from; the highest if None.
      dry_run: only say what would change.
      strict: raise RejectedInput when records were rejected.
      dead_letters: file for rejected records; `DEAD_LETTERS` in the base path if None.
    """

    base: Path
    answers: AnswerFiles = field(default_factory=AnswerFiles)
    vectors: Sequence[str] = ()
    source: str | None = None
    version: int | None = None
    dry_run: bool = False
    strict: bool = False
    dead_letters: Path | None = None


def refresh(request: RefreshRequest) -> dict[str, Any]:
    """Writes the next version of a model, with new answers in it.

    Returns:
      `path` and `version`, those of the base version when nothing was written (`written` says so);
      `answers`: `read`, `accepted`, `rejected`, `rejected_by_reason` of records; coverage of
      `items`, `users` and each of `sources`, `before` and `after`; `changed_rows`, knowledge rows
      that changed or joined, all sources together; `new_items`, `new_users`; `unread_groups`,
      accepted answers about groups whose members all have answers of their own; `dead_letters`,
      their file, or None; `seconds`: `encode`, `write`.

    Raises:
      ConfigurationError: there is no such version, file or source.
      CommandError: another export or refresh writes to the base path, the version lacks what a
        refresh needs or is damaged, a file cannot be read, the encoder cannot work, or every record
        was rejected.
      RejectedInput: `strict` was given and records were rejected; everything is written.
    """
    require_versions(request.base)
    if request.dry_run:
        return _refresh(request, None)
    # Held from the beginning: two refreshes at once would go on from the same version, and the
    # second one's would lack the answers of the first.
    with publishing(request.base) as publisher:
        return _refresh(request, publisher)


def _refresh(request: RefreshRequest, publisher: Publisher | None) -> dict[str, Any]:
    version = BaseVersion.find(request.base, request.version)
    knowledge = VersionKnowledge.of_version(version.folder)
    records = _read(request, knowledge, version)
    coverage = _coverage(knowledge)
    started = time.monotonic()
    encoded = _encode(knowledge, records)
    encoded_after = time.monotonic()
    used = [entry for entries, _ in encoded.values() for entry in entries]
    result: dict[str, Any] = {
        "path": str(version.folder),
        "version": version.number,
        "written": False,
        "answers": records.summary(used),
        "dead_letters": _write_dead_letters(request, records.rejected(used)),
    }
    _refuse_useless(records, result)
    unread_groups = knowledge.unread_groups(used)
    changes = knowledge.apply(encoded)
    report = {
        **_before_and_after(coverage, _coverage(knowledge)),
        "changed_rows": sum(len(change.rows) for change in changes.values()),
        **{
            f"new_{entity}s": len(knowledge.lookups[entity].new_ids)
            if entity in knowledge.lookups
            else 0
            for entity in ("item", "user")
        },
        "unread_groups": unread_groups,
    }
    result |= report
    written_from = time.monotonic()
    if changes and publisher is not None:
        written = _write(version, publisher, knowledge, changes, report)
        result |= {"path": str(written.path), "version": written.number, "written": True}
    result["seconds"] = {
        "encode": round(encoded_after - started, 3),
        "write": round(time.monotonic() - written_from, 3),
    }
    _say_result(result, request.dry_run)
    if request.strict and result["answers"]["rejected"]:
        number = result["answers"]["rejected"]
        raise RejectedInput(f"{number:,} of {result['answers']['read']:,} records", result)
    return result


def _read(request: RefreshRequest, knowledge: VersionKnowledge, version: BaseVersion) -> Records:
    description, records = knowledge.description, Records()
    if request.source is not None:
        check_source(description, request.source, str(version.folder))
    if request.answers.paths:
        read_answers(request.answers, request.source, description, records)
    if request.vectors:
        source = source_of_vectors(description, request.source)
        read_vectors(request.vectors, source, description, records)
    return records


def _encode(knowledge: VersionKnowledge, records: Records) -> Encoded:
    """Source -> usable entries and their knowledge vectors."""
    return {
        source: encode_entries(
            entries, source, knowledge.description, knowledge.folder.encoder(source), records
        )
        for source, entries in knowledge.usable(records).items()
    }


def _write_dead_letters(request: RefreshRequest, rejected: Rejected) -> str | None:
    if not rejected or (request.dry_run and request.dead_letters is None):
        return None
    path = request.dead_letters or request.base / DEAD_LETTERS
    write_dead_letters(
        path,
        (
            dead_letter(place.file, place.line, reason, detail)
            for place, (reason, detail) in rejected.items()
        ),
    )
    say(f"rejected records: {path}")
    return str(path)


def _refuse_useless(records: Records, result: Mapping[str, Any]) -> None:
    """Raises CommandError where there are records and all of them were rejected."""
    counts = result["answers"]
    if not counts["read"] or counts["accepted"]:
        return
    place = records.places[0]
    reason, detail = records.rejections[place]
    raise CommandError(
        f"all {counts['read']:,} records were rejected; the first, {place.file}:{place.line}, for "
        f"{reason}: {detail}",
        result,
    )


def _coverage(knowledge: VersionKnowledge) -> dict[str, Any]:
    return {
        "items": knowledge.coverage("item"),
        "users": knowledge.coverage("user"),
        "sources": {source: knowledge.coverage_of_source(source) for source in knowledge.entities},
    }


def _before_and_after(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: {"before": before[name], "after": after[name]} for name in ("items", "users")
    }
    found["sources"] = {
        source: {"before": before["sources"][source], "after": after["sources"][source]}
        for source in after["sources"]
    }
    return found


def _write(
    version: BaseVersion,
    publisher: Publisher,
    knowledge: VersionKnowledge,
    changes: Mapping[str, SourceChange],
    report: Mapping[str, Any],
) -> NextVersion:
    results = next_results(knowledge, changes)
    changed, variables = results.tables.changed, knowledge.variables

    def write_changes(folder: Path) -> None:
        variables.write(folder, changed)
        refreshed = RefreshFolder(folder)
        for source, entities in knowledge.entities.items():
            entities.write(refreshed.source(source))
        for (source, name), table in results.summands.items():
            write_summand(refreshed.source(source), name, table)

    shapes = {variables.checkpoint_key(name): np.shape(value) for name, value in changed.items()}
    return version.write_next(publisher, write_changes, report, shapes)


def _say_result(result: Mapping[str, Any], dry_run: bool) -> None:
    counts = result["answers"]
    say(
        f"{counts['read']:,} records read, {counts['accepted']:,} accepted, "
        f"{counts['rejected']:,} rejected"
    )
    for reason, number in counts["rejected_by_reason"].items():
        say(f"  {number:>8,}  {reason}: {REASONS.get(reason) or meaning_of(reason)}")
    for entity in ("items", "users"):
        before, after = result[entity]["before"], result[entity]["after"]
        said = ", ".join(f"{kind} {before[kind]:,} -> {after[kind]:,}" for kind in before)
        say(f"{entity}: {said}")
    if result["unread_groups"]:
        say(
            f"{result['unread_groups']:,} of the answers change nothing: they are about groups "
            "whose members all have answers of their own"
        )
    if not result["changed_rows"]:
        say(f"nothing changed: version {result['version']} knows all of this already")
        return
    done = "would change or join" if dry_run else "changed or joined"
    say(
        f"{result['changed_rows']:,} knowledge rows {done}; {result['new_items']:,} new items, "
        f"{result['new_users']:,} new users"
    )
    if result["written"]:
        say(f"{result['path']}: version {result['version']}")
