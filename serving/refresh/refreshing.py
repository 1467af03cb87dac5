"""The whole way of a refresh: answers in, the next version out, with notes of what changed."""

from __future__ import annotations

import json
import shutil
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from configs.command_line import CommandError, RejectedInput, say
from configs.contract_versions import contract_version
from configs.files import alone_in, require_file_name
from configs.loading import ConfigurationError
from preprocessing.answers.record import Location, meaning_of
from preprocessing.dead_letters import dead_letter, write_dead_letters
from preprocessing.links.known_links import (
    RECOMPUTE_ABOVE,
    ExtendedLinks,
    KnownLinks,
    read_known_links,
)
from preprocessing.records.forgotten import Forgotten
from serving.export_manifest import (
    MANIFEST,
    listed_files,
    variable_name,
    verify_manifest,
    write_document,
)
from serving.model_card.card import CARD_JSON, CARD_MARKDOWN, of_forgotten_ids, privacy_of_refreshed
from serving.options import require_base_path
from serving.publishing import NextVersion, next_version, version_folders
from serving.refresh.incoming import (
    REASONS,
    AnswerFiles,
    Entry,
    IncomingRecords,
    check_source,
    encode_entries,
    link_entries,
    read_answers,
    read_vectors,
    source_of_vectors,
)
from serving.refresh.knowledge import VersionKnowledge
from serving.refresh.stored_results import NextResults, next_results
from serving.refresh.version import VARIABLES, RefreshFolder, forgotten_in, write_source_table

_REFRESHED = "refreshed"

Shapes = Mapping[str, tuple[int, ...]]


def note_on_card(version_folder: Path, noted: Mapping[str, Any]) -> None:
    """Adds a section to the model card, where there is one.

    Args:
      version_folder: the new version.
      noted: `time`, `from_version`, `code_version`, and what the refresh did.
    """
    card, card_json = version_folder / CARD_MARKDOWN, version_folder / CARD_JSON
    forgotten = Forgotten.of(RefreshFolder(version_folder).path)
    if card_json.exists():
        facts = json.loads(card_json.read_text(encoding="utf-8"))
        if forgotten:
            facts["privacy"] = privacy_of_refreshed(facts.get("privacy", ()), forgotten)
        facts[_REFRESHED] = [*facts.get(_REFRESHED, []), noted]
        card_json.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if not card.exists():
        return
    lines = [
        "",
        f"## Refreshed on {noted['time'][:10]}",
        "",
        f"New answers were added to version {noted['from_version']} without training: "
        f"{noted['changed_rows']:,} knowledge rows changed or joined, {noted['new_items']:,} items "
        f"and {noted['new_users']:,} users are new; {sum(noted['forgotten'].values()):,} items and "
        f"users were forgotten. Metrics and proof above are of the exported "
        "run, before any refresh.",
        "",
        "| knowledge | before | after |",
        "|---|---|---|",
    ]
    for entity in ("items", "users"):
        before, after = noted[entity]["before"], noted[entity]["after"]
        if not any(after.values()):
            continue
        lines += [f"| {entity}: {kind} | {before[kind]:,} | {after[kind]:,} |" for kind in before]
    if forgotten:
        lines += ["", f"Whatever is said above, {of_forgotten_ids(forgotten)}"]
    with card.open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def write_manifest(
    version_folder: Path, base: Mapping[str, Any], noted: Mapping[str, Any], shapes: Shapes
) -> None:
    """Writes the manifest of a refreshed version, which comes last: it lists every other file.

    Args:
      version_folder: the new version, complete but for this file.
      base: manifest of the version that was refreshed.
      noted: `time`, `from_version`, `code_version`, and what the refresh did.
      shapes: checkpoint key -> shape of variables that changed.
    """
    variables = dict(base.get("variables", {}))
    for key, shape in shapes.items():
        name = variable_name(key)
        if name in variables:
            variables[name] = {**variables[name], "shape": list(shape)}
    manifest = {
        **base,
        "created": noted["time"],
        "variables": variables,
        # The proof compared another version with the checkpoint.
        "proof": None,
        _REFRESHED: [*base.get(_REFRESHED, []), noted],
        "files": listed_files(version_folder),
    }
    write_document(version_folder, manifest)


@dataclass(frozen=True)
class BaseVersion:
    """The version that a refresh goes on from.

    Attributes:
      folder: the version folder.
      number: its number.
      manifest: what the version says it is; None where it has none.
    """

    folder: Path
    number: int
    manifest: dict[str, Any] | None

    @classmethod
    def find(cls, base: str | Path, number: int | None = None) -> BaseVersion:
        """Finds a version and makes sure that it is whole.

        Args:
          base: model base path.
          number: of the version; the highest if None.

        Raises:
          ConfigurationError: there is no version, or none of this number.
          CommandError: a file of the version is missing or changed.
        """
        folders = require_versions(base)
        if number is not None and number not in folders:
            there = ", ".join(map(str, sorted(folders)))
            raise ConfigurationError(f"--version {number}: {base} holds the versions {there}")
        chosen = max(folders) if number is None else number
        folder = folders[chosen]
        has_manifest = (folder / MANIFEST).exists()
        return cls(folder, chosen, verify_manifest(folder) if has_manifest else None)

    def write_next(
        self,
        write_changes: Callable[[Path], None],
        report: Mapping[str, Any],
        shapes: Shapes,
    ) -> NextVersion:
        """Writes the next version beside it, into a base path that this process holds.

        Args:
          write_changes: writes variables and the changed refresh files into a copy of the version.
          report: what the refresh did, for manifest and model card.
          shapes: checkpoint key -> shape of variables that changed.

        Returns:
          Where it is.
        """
        with next_version(self.folder.parent) as version:
            folder = version.unfinished
            shutil.copytree(self.folder, folder, ignore=_rewritten(self.folder))
            _make_writable(folder)
            write_changes(folder)
            noted = {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "from_version": self.number,
                "code_version": contract_version("export"),
                **report,
            }
            note_on_card(folder, noted)
            if self.manifest is not None:
                write_manifest(folder, self.manifest, noted, shapes)
        return version


def require_versions(base: str | Path) -> dict[int, Path]:
    """The versions of a base path: number -> folder.

    Raises:
      ConfigurationError: there is none.
    """
    base = Path(base)
    require_base_path(base, "--model ")
    folders = version_folders(base) if base.is_dir() else {}
    if not folders:
        raise ConfigurationError(
            f"--model {base}: there is no version folder (1, 2, ...) in it; name the model base "
            "path that 'python -m serving export --out' wrote"
        )
    return folders


def _make_writable(folder: Path) -> None:
    """For the owner: a copy has the modes of what was copied."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def _rewritten(folder: Path) -> Callable[[str, list[str]], set[str]]:
    """What is not copied: the variables, and the manifest, which lists other files."""
    top, manifest = str(folder), folder / MANIFEST

    def ignored(directory: str, names: list[str]) -> set[str]:
        return {
            name
            for name in names
            if (directory == top and name == VARIABLES) or Path(directory) / name == manifest
        }

    return ignored


DEAD_LETTERS = "refresh_dead_letters.jsonl"

Encoded = dict[str, tuple[Sequence[Entry], np.ndarray]]


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
      forget: "item" and "user" -> raw ids that the next version does not know any more.
    """

    base: Path
    answers: AnswerFiles = field(default_factory=AnswerFiles)
    vectors: Sequence[str] = ()
    source: str | None = None
    version: int | None = None
    dry_run: bool = False
    strict: bool = False
    dead_letters: Path | None = None
    forget: Mapping[str, Sequence[str]] = field(default_factory=dict)


def refresh(request: RefreshRequest) -> dict[str, Any]:
    """Writes the next version of a model, with new answers in it.

    Returns:
      `path` and `version`, those of the base version when nothing was written (`written` says so);
      `answers`: `read`, `accepted`, `rejected`, `rejected_by_reason` of records, and of accepted
      ones about groups `members_left_out`, by reason; coverage of
      `items`, `users` and each of `sources`, `before` and `after`; `changed_rows`, knowledge rows
      that changed or joined, all sources together; `forgotten`, `items` and `users` that were, and
      `unknown_to_forget`, how many of the ids to forget are none of them;
      `new_items`, `new_users`; `unread_groups`, accepted answers about groups whose members all
      have answers of their own; `dead_letters`, their file, or None; `seconds`: `encode`, `write`.

    Raises:
      ConfigurationError: there is no such version, file or source, an id is empty, or rejected
        records would go to a folder or into a file that is read.
      CommandError: another export or refresh writes to the base path, the version lacks what a
        refresh needs or is damaged, a file cannot be read, the encoder cannot work, or every record
        was rejected and nobody is to be forgotten.
      RejectedInput: `strict` was given and records were rejected; everything is written.
    """
    require_versions(request.base)
    for entity, ids in request.forget.items():
        if "" in ids:
            raise ConfigurationError(f"--forget-{entity}: an id is empty; name the {entity}'s id")
    _require_file_for_dead_letters(request)
    # Held from the beginning: two refreshes at once would go on from the same version, and the
    # second one's would lack the answers of the first.
    with nullcontext() if request.dry_run else alone_in(request.base):
        return _refresh(request)


def _require_file_for_dead_letters(request: RefreshRequest) -> None:
    """Rejected records do not take the place of what is read, nor of a folder."""
    path = _dead_letters_path(request)
    if path is None:
        return
    require_file_name("--dead-letters", path)
    options = {"--answers": request.answers.paths, "--vectors": request.vectors}
    for option, files in options.items():
        for file in files:
            if Path(file).exists() and path.exists() and path.samefile(file):
                raise ConfigurationError(
                    f"--dead-letters {path}: is a file of {option}, which rejected records would "
                    "replace; name another file"
                )


def _dead_letters_path(request: RefreshRequest) -> Path | None:
    """Where rejected records go; None if they are not written."""
    default = None if request.dry_run else request.base / DEAD_LETTERS
    return request.dead_letters or default


def _refresh(request: RefreshRequest) -> dict[str, Any]:
    version = BaseVersion.find(request.base, request.version)
    knowledge = VersionKnowledge.of_version(version.folder)
    later = {
        number: Forgotten.of(RefreshFolder(folder).path)
        for number, folder in sorted(version_folders(request.base).items())
        if number > version.number
    }
    forgotten_before = Forgotten.of(RefreshFolder(version.folder).path)
    _require_still_forgotten(request, version.number, later, forgotten_before)
    tombstones = forgotten_before.joined(forgotten_in(request.base)).with_ids(
        request.forget.get("user", ()), request.forget.get("item", ())
    )
    records = _read(request, knowledge, version, tombstones)
    coverage = _coverage(knowledge)
    started = time.monotonic()
    encoded, links = _encode(knowledge, records)
    encoded_after = time.monotonic()
    used = [entry for entries, _ in encoded.values() for entry in entries]
    result: dict[str, Any] = {
        "path": str(version.folder),
        "version": version.number,
        "written": False,
        "answers": records.summary(used),
        "dead_letters": _write_dead_letters(request, records.letters(used)),
    }
    asked = sum(len(set(ids)) for ids in request.forget.values())
    if not asked:
        _refuse_useless(records, result)
    unread_groups = knowledge.unread_groups(used)
    changes = knowledge.apply(encoded)
    forgotten = knowledge.forget(request.forget)
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
        "forgotten": {f"{entity}s": len(rows) for entity, rows in forgotten.rows.items()},
        **_report_of_links(knowledge, links),
    }
    result |= report
    result["unknown_to_forget"] = asked - sum(map(len, forgotten.rows.values()))
    written_from = time.monotonic()
    is_new = asked > 0 and tombstones.digest != forgotten_before.digest
    if (changes or forgotten or is_new) and not request.dry_run:
        known_links = {source: extended.links for source, extended in links.items()}
        if forgotten:
            known_links |= _links_without(knowledge, known_links, request.forget.get("item", ()))
        results = next_results(knowledge, changes, forgotten)
        written = _write(version, knowledge, results, known_links, tombstones, report)
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


def _require_still_forgotten(
    request: RefreshRequest, base: int, later: Mapping[int, Forgotten], before: Forgotten
) -> None:
    """What goes on from an older version does not know again whom a later one forgot."""
    asked = request.forget.get("user", ()), request.forget.get("item", ())
    known = {each.salt: each for each in before.by_salt()}
    parts = [(number, part) for number, each in later.items() for part in each.by_salt()]
    for number, forgotten in parts:
        again = known.get(forgotten.salt, Forgotten(forgotten.salt)).with_ids(*asked)
        users, items = forgotten.users - again.users, forgotten.items - again.items
        if users or items:
            raise CommandError(
                f"--version {base}: version {number} has forgotten {len(users):,} users and "
                f"{len(items):,} items that may be known again. Go on from version {number}, or "
                "name them once more with --forget-user and --forget-item"
            )


def _read(
    request: RefreshRequest,
    knowledge: VersionKnowledge,
    version: BaseVersion,
    tombstones: Forgotten,
) -> IncomingRecords:
    description, records = knowledge.description, IncomingRecords()
    if request.source is not None:
        check_source(description, request.source, str(version.folder))
    if request.answers.paths:
        read_answers(request.answers, request.source, description, records)
    if request.vectors:
        source = source_of_vectors(description, request.source)
        read_vectors(request.vectors, source, description, records)
    records.leave_out(tombstones, description)
    return records


def _encode(
    knowledge: VersionKnowledge, records: IncomingRecords
) -> tuple[Encoded, dict[str, ExtendedLinks]]:
    """Source -> usable entries and their knowledge vectors; source of links -> its new links."""
    encoded: Encoded = {}
    links: dict[str, ExtendedLinks] = {}
    for source, entries in knowledge.usable(records).items():
        settings = knowledge.description.sources[source].links
        folder = knowledge.folder.encoder(source)
        if settings is None:
            encoded[source] = encode_entries(
                entries, source, knowledge.description, folder, records
            )
        else:
            usable, vectors, links[source] = link_entries(entries, settings, folder, records)
            encoded[source] = usable, vectors
    return encoded, links


def _links_without(
    knowledge: VersionKnowledge, extended: Mapping[str, KnownLinks], items: Sequence[str]
) -> dict[str, KnownLinks]:
    """Links of each source that has some, without those of items."""
    return {
        source: (
            extended.get(source)
            or read_known_links(str(knowledge.folder.encoder(source)), described.links)
        ).without(items)
        for source, described in knowledge.description.sources.items()
        if described.links is not None
    }


def _report_of_links(
    knowledge: VersionKnowledge, links: Mapping[str, ExtendedLinks]
) -> dict[str, Any]:
    """Names of the new answers by what became of them, where the model reads links at all."""
    if all(described.links is None for described in knowledge.description.sources.values()):
        return {}
    return {
        "links": {
            source: {
                **extended.counts,
                "drift": round(extended.drift, 4),
                "recompute": extended.drift > RECOMPUTE_ABOVE,
            }
            for source, extended in links.items()
        }
    }


def _write_dead_letters(
    request: RefreshRequest, letters: Sequence[tuple[Location, str, str]]
) -> str | None:
    path = _dead_letters_path(request)
    if not letters or path is None:
        return None
    write_dead_letters(
        path,
        (
            dead_letter(location.file, location.line, reason, detail)
            for location, reason, detail in letters
        ),
    )
    say(f"rejected records: {path}")
    return str(path)


def _refuse_useless(records: IncomingRecords, result: Mapping[str, Any]) -> None:
    """Raises CommandError where there are records and all of them were rejected."""
    counts = result["answers"]
    if not counts["read"] or counts["accepted"]:
        return
    location = records.locations[0]
    reason, detail = records.rejections[location]
    raise CommandError(
        f"all {counts['read']:,} records were rejected; the first, "
        f"{location.file}:{location.line}, for {reason}: {detail}",
        result,
    )


def _coverage(knowledge: VersionKnowledge) -> dict[str, Any]:
    return {
        "items": knowledge.coverage("item"),
        "users": knowledge.coverage("user"),
        "sources": {source: knowledge.coverage_of_source(source) for source in knowledge.entities},
    }


def _before_and_after(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    comparison: dict[str, Any] = {
        name: {"before": before[name], "after": after[name]} for name in ("items", "users")
    }
    comparison["sources"] = {
        source: {"before": before["sources"][source], "after": after["sources"][source]}
        for source in after["sources"]
    }
    return comparison


def _write(
    version: BaseVersion,
    knowledge: VersionKnowledge,
    results: NextResults,
    links: Mapping[str, KnownLinks],
    tombstones: Forgotten,
    report: Mapping[str, Any],
) -> NextVersion:
    changed, variables = results.tables.changed, knowledge.variables

    def write_changes(folder: Path) -> None:
        variables.write(folder, changed)
        refreshed = RefreshFolder(folder)
        for source, entities in knowledge.entities.items():
            entities.write(refreshed.source(source))
        for (source, name), table in results.source_tables.items():
            write_source_table(refreshed.source(source), name, table)
        for source, extended in links.items():
            extended.write(str(refreshed.encoder(source)))
        if tombstones:
            tombstones.write(refreshed.path)

    shapes = {variables.checkpoint_key(name): np.shape(value) for name, value in changed.items()}
    return version.write_next(write_changes, report, shapes)


def _say_result(result: Mapping[str, Any], dry_run: bool) -> None:
    counts = result["answers"]
    say(
        f"{counts['read']:,} records read, {counts['accepted']:,} accepted, "
        f"{counts['rejected']:,} rejected"
    )
    for reason, number in counts["rejected_by_reason"].items():
        say(f"  {number:>8,}  {reason}: {REASONS.get(reason) or meaning_of(reason)}")
    for reason, number in counts["members_left_out"].items():
        told = REASONS.get(reason) or meaning_of(reason)
        say(f"  {number:>8,}  members of groups, {reason}: {told}")
    for entity in ("items", "users"):
        before, after = result[entity]["before"], result[entity]["after"]
        said = ", ".join(f"{kind} {before[kind]:,} -> {after[kind]:,}" for kind in before)
        say(f"{entity}: {said}")
    if result["unread_groups"]:
        say(
            f"{result['unread_groups']:,} of the answers change nothing: they are about groups "
            "whose members all have answers of their own"
        )
    for source, counted in result.get("links", {}).items():
        say(
            f"{source}: {sum(counted['linked'].values()):,} of {counted['names']:,} names linked; "
            f"drift {counted['drift']:.3f}"
        )
        if counted["recompute"]:
            say(
                f"warning: {source}: many links have changed (drift above {RECOMPUTE_ABOVE}), so "
                "its vectors should be computed anew: run 'python -m preprocessing encode' with "
                "all answers and train again"
            )
    forgotten = {name: number for name, number in result["forgotten"].items() if number}
    if forgotten:
        told = " and ".join(f"{number:,} {name}" for name, number in forgotten.items())
        say(f"{told} {'would be' if dry_run else 'were'} forgotten")
    if result["unknown_to_forget"]:
        say(
            f"warning: {result['unknown_to_forget']:,} of the ids to forget are unknown to the "
            "model; one that is mistyped forgets nobody"
        )
    if not result["changed_rows"] and not forgotten and not result["written"]:
        say(f"nothing changed: version {result['version']} knows all of this already")
        return
    done = "would change or join" if dry_run else "changed or joined"
    say(
        f"{result['changed_rows']:,} knowledge rows {done}; {result['new_items']:,} new items, "
        f"{result['new_users']:,} new users"
    )
    if result["written"]:
        say(f"{result['path']}: version {result['version']}")
