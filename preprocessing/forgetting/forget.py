"""The command `forget`: a user or an item leaves all that a scenario's work directory holds."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from configs.command_line import CommandError, say
from configs.data import Table
from configs.files import errors_name, file_sha256
from configs.loading import ConfigurationError, require_there
from configs.scenario import Scenario
from preprocessing import storage
from preprocessing.answers.names import LINKS, name_lists, name_text
from preprocessing.answers.record import (
    RejectedAnswer,
    answer_of,
    json_object,
    numbered_lines,
    prompt_sha256,
    recorded_source,
)
from preprocessing.answers.texts import answer_texts
from preprocessing.forgetting.editing import (
    Leaving,
    Removed,
    batch_request_keys,
    damage_names,
    editor_of,
    finds_ids,
    holds_records,
    members_of,
    odd_id_columns,
    prompt_of,
    quoted,
    sha256_of,
)
from preprocessing.forgetting.manifests import edit_manifest, prompts_are_missing
from preprocessing.forgetting.report import Report, sha256_now, write_report
from preprocessing.grouping.groups_file import open_groups, parse_memberships
from preprocessing.grouping.plan import groups_file
from preprocessing.inputs import PARQUET_SUFFIX
from preprocessing.knowledge.log_coverage import LogCoverage
from preprocessing.records.contract import INDIVIDUAL, DamagedRecords
from preprocessing.records.forgotten import FORGOTTEN_FILE, Forgotten
from preprocessing.records.layout import StepDirectory
from preprocessing.steps import only_writer
from preprocessing.tables.blocks import WantedColumns, expand_paths
from preprocessing.tables.ids import usable_ids
from preprocessing.tables.table_reader import open_table

REPORTS = "forget_reports"
"""Folder of the work directory."""

_JOURNAL = ".forget"
_TEMPORARY = ".forgetting"
_EXPORT = "saved_model.pb"


def forget(
    scenario: Scenario,
    users: Sequence[str] = (),
    items: Sequence[str] = (),
    *,
    paths: Sequence[Path] = (),
    recompute: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Takes users and items out of the answers, prompts, vectors, links and examples of a scenario.

    The ids are first written, hashed, into the work directory, and every later step obeys them.
    Files are edited one by one, each in one move, and a journal says which; whoever runs the
    command again after it was killed finishes it, with the same bytes. A step's manifest is
    rewritten last, so that a half edited folder is not taken for a finished one.

    Args:
      scenario: the scenario.
      users: ids.
      items: ids.
      paths: further files and folders, such as prompts and answers of `generate`.
      recompute: make examples and vectors anew afterwards, where an edit leaves traces of them.
      dry_run: only count.

    Returns:
      `files`: file -> what is removed, `removed` in all, by kind, `still_there`, the files that
      are the owner's to edit, `to_do`, what has to be made anew, and `report`, its file.

    Raises:
      ConfigurationError: no id is given, or one is empty; or a path of `paths` or of the owner's
        tables leads nowhere.
      CommandError: an earlier run with other ids was interrupted, a step is at work, or a file is
        damaged.
    """
    _require_ids(users, items)
    for path in paths:
        require_there(path)
    _owned_files(scenario)
    work = Path(scenario.work_dir)
    leaving = Leaving(
        frozenset(users), frozenset(items), _entities(scenario), {}, *[frozenset[str]()] * 5
    )
    if dry_run:
        edits = _Edits({})
        with tempfile.TemporaryDirectory() as scratch:
            whole = _survey(scenario, leaving, paths)
            for path in _files(scenario, paths):
                edits.preview(path, Path(scratch) / "edited", whole)
        result = _told(scenario, edits, whole, paths, dry_run=True)
        _say_to_do(result)
        return result
    with contextlib.ExitStack() as held:
        for folder in (work, *(work / name for name in ("knowledge", "links", "groups"))):
            if folder == work or folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(only_writer(folder))
        (work / _JOURNAL).mkdir(exist_ok=True)
        forgotten = Forgotten.of(work).with_ids(users, items)
        asked = sorted(
            {forgotten.hash_of("user", user) for user in users}
            | {forgotten.hash_of("item", item) for item in items}
        )
        journal = _Journal(work / _JOURNAL / "journal.jsonl", asked)
        forgotten.write(work)
        for cache in _cache_folders(scenario):
            storage.delete_unfinished(cache)
        if journal.plan is None:
            journal.begin(_survey(scenario, leaving, paths))
        whole = journal.leaving(leaving)
        edits = _Edits(journal.entries)
        for path in _files(scenario, paths):
            edits.make(path, whole, journal)
        coverage = LogCoverage(scenario)
        for folder in _step_folders(scenario, paths):
            edits.make_manifest(folder, forgotten, coverage, journal)
        result = _told(scenario, edits, whole, paths, dry_run=False)
        report = Report(
            work_dir=str(work),
            started=journal.started,
            subjects=tuple(
                {"entity": entity, "hash": forgotten.hash_of(entity, entity_id)}
                for entity, ids in (("user", users), ("item", items))
                for entity_id in sorted(set(ids))
            ),
            tombstones={"file": FORGOTTEN_FILE, "sha256": file_sha256(work / FORGOTTEN_FILE)},
            files=tuple(edits.described()),
            removed=result["removed"],
            still_there=tuple(result["still_there"]),
            to_do=tuple(result["to_do"]),
        )
        written = write_report(report, work / REPORTS)
        result["report"] = str(written)
        say(f"report: {written}")
        shutil.rmtree(work / _JOURNAL)
    if recompute:
        result["recomputed"] = _recomputed(scenario)
        done = _commands_of(result["recomputed"])
        result["to_do"] = [task for task in result["to_do"] if task["command"] not in done]
        files = tuple({**entry, "after": sha256_now(entry["file"])} for entry in report.files)
        completed = replace(report, files=files, to_do=tuple(result["to_do"]))
        write_report(completed, work / REPORTS, written)
    _say_to_do(result)
    return result


def _require_ids(users: Sequence[str], items: Sequence[str]) -> None:
    if not users and not items:
        raise ConfigurationError("say who is forgotten, by --user, --item or a file of ids")
    for option, ids in (("--user", users), ("--item", items)):
        if not all(entity_id.strip() for entity_id in ids):
            raise ConfigurationError(f"{option}: an id is empty")


def _entities(scenario: Scenario) -> dict[str, str]:
    """Source, by its own name and by that of its records -> "user" or "item"."""
    answers = scenario.knowledge.answers
    named: dict[str, str] = {source: described.entity for source, described in answers.items()}
    return named | {
        recorded_source(source, described.factor): described.entity
        for source, described in answers.items()
    }


def _owned(scenario: Scenario) -> dict[str, tuple[str, Table, str, str]]:
    """Input that is not edited: key -> "user" or "item", table, and its column of ids."""
    data = scenario.data
    columns = data.interactions.columns
    owned = {
        "data.interactions (users)": ("user", data.interactions, columns.user),
        "data.interactions (items)": ("item", data.interactions, columns.item),
        "data.catalogue": ("item", data.catalogue, data.catalogue.item),
    }
    if data.profiles is not None:
        owned["data.profiles"] = ("user", data.profiles, data.profiles.user)
    return {
        name: (entity, table, column, f"{name.split()[0]}.path")
        for name, (entity, table, column) in owned.items()
    }


def _owned_files(scenario: Scenario) -> set[Path]:
    """Local files of the tables that are not edited.

    Raises:
      ConfigurationError: a path or pattern means no file.
    """
    return {
        Path(name).resolve()
        for _, table, _, key in _owned(scenario).values()
        for name in expand_paths(_local_paths(table), key)
    }


def _local_paths(table: Table) -> tuple[str, ...]:
    return tuple(path for path in table.paths if not storage.is_url(path))


def _answer_files(scenario: Scenario) -> list[Path]:
    """Local files of answers and groups that the scenario names, each once."""
    names = [
        name
        for described in scenario.knowledge.answers.values()
        for name in (*described.individual, *described.collective, described.groups)
        if name is not None and not storage.is_url(name)
    ]
    return [Path(name) for name in dict.fromkeys(names)]


def _files(scenario: Scenario, paths: Sequence[Path]) -> list[Path]:
    """All files with an editor that are not the owner's; each once, sorted."""
    owned = _owned_files(scenario)
    for described in scenario.knowledge.answers.values():
        owned |= {Path(name).resolve() for name in described.vectors}
    files: set[Path] = set()
    roots = [Path(scenario.work_dir), *paths, *_answer_files(scenario)]
    roots += [Path(name) for name in _cache_folders(scenario) if not storage.is_url(name)]
    for root in roots:
        files |= {root.resolve()} if root.is_file() else _below(root)
    return sorted(path for path in files - owned if editor_of(path) is not None)


def _cache_folders(scenario: Scenario) -> list[str]:
    """Where vectors of texts are kept: in the work directory, or elsewhere."""
    return [scenario.knowledge.encoder.cache or scenario.work_dir]


def _below(root: Path) -> set[Path]:
    """Files of a folder, without those of exports, whose manifests are somebody else's."""
    files = set()
    for directory, folders, names in os.walk(root):
        if _EXPORT in names:
            folders.clear()
            continue
        folders[:] = [name for name in folders if name not in (_JOURNAL, REPORTS)]
        files |= {
            Path(directory, name).resolve() for name in names if not name.endswith(_TEMPORARY)
        }
    return files


def _step_folders(scenario: Scenario, paths: Sequence[Path]) -> list[Path]:
    """Folders of finished steps; links before the vectors that are made of them."""
    roots = [Path(scenario.work_dir), *(path for path in paths if path.is_dir())]
    manifests = {path for root in roots for path in _below(root) if path.name == "manifest.json"}
    folders = []
    for manifest in sorted(manifests):
        with contextlib.suppress(ValueError, OSError):
            if "step" in json.loads(manifest.read_bytes()):
                folders.append(manifest.parent)
    return folders


def _survey(scenario: Scenario, leaving: Leaving, paths: Sequence[Path]) -> Leaving:
    """Finds out what leaves with them: groups, pseudonyms, and hashes of prompts and texts."""
    whole = replace(leaving, groups=_small_groups(scenario, leaving))
    custom_ids: set[str] = set()
    prompts: set[str] = set()
    group_prompts: set[str] = set()
    texts: set[str] = set()
    details: set[str] = set()
    readers = [
        (
            recorded_source(source, described.factor),
            answer_texts(source, described, scenario.knowledge.encoder),
        )
        for source, described in scenario.knowledge.answers.items()
        if described.is_encoded
    ]
    files = _files(scenario, paths)
    for record in _records(files):
        is_about = whole.about(record)
        lists_them = not whole.items.isdisjoint(members_of(record))
        if not is_about and not lists_them:
            continue
        details.update(sha256_of(quoted(name)) for name in _names(scenario, whole, record))
        if (prompt := prompt_of(record)) is not None:
            (prompts if is_about else group_prompts).add(prompt)
        if not is_about:
            continue
        is_user = whole.entities.get(str(record.get("source"))) == "user"
        if is_user and record.get("extraction") == INDIVIDUAL:
            custom_ids |= {str(record["custom_id"])} if "custom_id" in record else set()
        for recorded, reader in readers:
            with contextlib.suppress(RejectedAnswer):
                answer = answer_of(record, recorded, None)
                texts.add(prompt_sha256(reader.to_encode(answer).text))
    requests: dict[str, set[str]] = {}
    for record in _records(files) if prompts or group_prompts else ():
        prompt = prompt_of(record)
        if prompt is None or prompt not in prompts | group_prompts:
            continue
        is_named = whole.is_named(record)
        if is_named is False:
            prompts.discard(prompt)  # Somebody who stays was asked about with the same text.
        elif is_named is None and isinstance(name := record.get("custom_id"), str):
            requests.setdefault(prompt, set()).add(name)
    asked = prompts | group_prompts
    custom_ids.update(*(requests[prompt] for prompt in requests.keys() & asked))
    for path in files:
        custom_ids |= batch_request_keys(path, asked)
    return replace(
        whole,
        custom_ids=frozenset(custom_ids),
        prompts=frozenset(prompts),
        group_prompts=frozenset(group_prompts),
        texts=frozenset(texts),
        details=frozenset(details),
    )


def _names(scenario: Scenario, leaving: Leaving, record: Mapping[str, Any]) -> Iterator[str]:
    """Names that an answer lists for those who leave, as dead letters have them."""
    for source, described in scenario.knowledge.answers.items():
        if described.links is None:
            continue
        with contextlib.suppress(RejectedAnswer):
            answer = answer_of(record, recorded_source(source, described.factor), None)
            for listed in name_lists(answer, described.entity, described.factor or LINKS).lists:
                if listed.entity_id in leaving.ids(described.entity):
                    yield from map(name_text, listed.names)


def _records(files: Iterable[Path]) -> Iterator[Mapping[str, Any]]:
    """Prompts and answers of some files; what is no record is passed over."""
    for path in files:
        with damage_names(path):
            for _, line in numbered_lines(str(path)) if holds_records(path) else ():
                with contextlib.suppress(RejectedAnswer):
                    yield json_object(line)


def _small_groups(scenario: Scenario, leaving: Leaving) -> dict[str, frozenset[str]]:
    """Source -> groups that a member leaves, with too few members left for a group of users."""
    small: dict[str, frozenset[str]] = {}
    for source, described in scenario.knowledge.answers.items():
        path = groups_file(scenario, source)
        if path is None or not storage.matching_files(path):
            continue
        key = f"knowledge.answers.{source}.groups"
        sizes: Counter[str] = Counter()
        left: set[str] = set()
        for block in open_groups(path, described.entity, key).read():
            for member in parse_memberships(block, described.entity)[0]:
                if member.entity_id in leaving.ids(described.entity):
                    left.add(member.group_id)
                else:
                    sizes[member.group_id] += 1
        fewest = scenario.prompts.minimum_group_users if described.entity == "user" else 1
        gone = frozenset(group for group in left if sizes[group] < fewest)
        small[source] = small[recorded_source(source, described.factor)] = gone
    return small


_FOUND = ("custom_ids", "prompts", "group_prompts", "texts", "details")
"""What the survey finds, beside groups."""


class _Journal:
    """What an interrupted run has to go on from; it is deleted when all is done.

    Users and items stand in it as hashes, groups and custom ids as they are.

    Attributes:
      plan: what the survey found; None before it has.
      started: when the first run began.
      entries: file -> the last edit of it that was begun.
    """

    def __init__(self, path: Path, asked: Sequence[str]):
        """Reads the journal of an interrupted run, if there is one.

        Raises:
          CommandError: it was about other ids.
        """
        self._path = path
        self._asked = list(asked)
        self.plan: dict[str, Any] | None = None
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.entries: dict[str, dict[str, Any]] = {}
        written = path.read_bytes() if path.exists() else b""
        whole = written[: written.rfind(b"\n") + 1]
        if whole != written:
            os.truncate(path, len(whole))  # A killed run did not end its last line.
        for line in whole.splitlines():
            record = json.loads(line)
            if "asked" in record:
                if record["asked"] != self._asked:
                    raise CommandError(
                        f"{path}: an earlier 'forget' of other ids was interrupted; run it again "
                        "with the ids that it was given, and then this one"
                    )
                self.plan, self.started = record["plan"], record["started"]
            else:
                self.entries[record["file"]] = record

    def begin(self, leaving: Leaving) -> None:
        """Writes down what the survey found."""
        self.plan = {
            "groups": {source: sorted(groups) for source, groups in leaving.groups.items()},
            **{name: sorted(getattr(leaving, name)) for name in _FOUND},
        }
        self._path.unlink(missing_ok=True)
        self._add({"asked": self._asked, "started": self.started, "plan": self.plan})

    def leaving(self, leaving: Leaving) -> Leaving:
        """Who leaves, with what the survey found."""
        assert self.plan is not None
        groups = {source: frozenset(gone) for source, gone in self.plan["groups"].items()}
        sets: dict[str, Any] = {name: frozenset(self.plan[name]) for name in _FOUND}
        return replace(leaving, groups=groups, **sets)

    def note(self, entry: dict[str, Any]) -> None:
        """Writes down an edit before it is made."""
        self.entries[entry["file"]] = entry
        self._add(entry)

    def _add(self, record: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())


@dataclass
class _Edits:
    """Edits of files by path: hash before and after, and what was removed.

    Attributes:
      entries: those of an interrupted run to begin with.
    """

    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def preview(self, path: Path, scratch: Path, leaving: Leaving) -> None:
        """Counts what would be removed from a file."""
        edit = editor_of(path)
        assert edit is not None
        with damage_names(path):
            removed = +edit(path, scratch, leaving)
        scratch.unlink(missing_ok=True)
        if removed:
            self.entries[str(path)] = {"file": str(path), "removed": dict(removed)}

    def make(self, path: Path, leaving: Leaving, journal: _Journal) -> None:
        """Edits a file in one move."""
        edit = editor_of(path)
        assert edit is not None
        target = path.with_name(f".{path.name}{_TEMPORARY}")
        # Of a run that was killed; what writes whole files has names of its own for them meanwhile.
        for leftover in path.parent.glob(f"{glob.escape(target.name)}*"):
            leftover.unlink()
        with damage_names(path), errors_name(target):
            removed = +edit(path, target, leaving)
        if removed:
            shutil.copymode(path, target)
            self._put(path, target, removed, journal)

    def make_manifest(
        self, folder: Path, forgotten: Forgotten, coverage: LogCoverage, journal: _Journal
    ) -> None:
        """Makes a step's manifest say what its folder holds now."""
        path = StepDirectory(folder).manifest
        try:
            edited = edit_manifest(folder, forgotten, self.entries, coverage)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise DamagedRecords(
                f"{path}: not the manifest that the step wrote ({error!r}); run the step again "
                "with --force, and then this command to its end"
            ) from error
        if edited is None:
            return
        target = path.with_name(f".{path.name}{_TEMPORARY}")
        target.write_text(json.dumps(edited, indent=2) + "\n", encoding="utf-8")
        self._put(path, target, Counter(), journal)

    def described(self) -> Iterator[dict[str, Any]]:
        """The edits in the order of their files."""
        for name in sorted(self.entries):
            yield self.entries[name]

    def _put(self, path: Path, target: Path, removed: Removed, journal: _Journal) -> None:
        before = file_sha256(path)
        counts = Counter(removed)
        earlier = self.entries.get(str(path))
        if earlier is not None and earlier["after"] == before:
            counts.update(earlier["removed"])
            before = earlier["before"]
        entry = {
            "file": str(path),
            "before": before,
            "after": file_sha256(target),
            "removed": dict(sorted(counts.items())),
        }
        self.entries[str(path)] = entry
        journal.note(entry)
        os.replace(target, path)


def _told(
    scenario: Scenario, edits: _Edits, leaving: Leaving, paths: Sequence[Path], dry_run: bool
) -> dict[str, Any]:
    """The result, said to people, too."""
    removed: Counter[str] = Counter()
    files = {}
    for entry in edits.described():
        if entry["removed"]:
            files[entry["file"]] = entry["removed"]
            removed.update(entry["removed"])
    verb = "would be removed" if dry_run else "removed"
    for name, counts in files.items():
        told = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in counts.items())
        say(f"{name}: {told} {verb}")
    if not files:
        say("forget: nothing about them was found in the files that can be edited")
    owned, met = _owned_rows(scenario, leaving)
    for entity, ids in met.items():
        unknown = len(leaving.ids(entity) - ids)
        if unknown:
            say(
                f"warning: {unknown:,} of {len(leaving.ids(entity)):,} {entity} ids "
                f"{'is' if unknown == 1 else 'are'} in no table of the scenario; an id that is "
                "mistyped forgets nobody"
            )
    still_there = [*owned, *_still_there(scenario, leaving, paths)]
    for left in still_there:
        rows = f"{left['rows']:,} rows; " if left["rows"] else ""
        say(f"still there: {left['file']} ({left['what']}): {rows}{left['do']}")
    is_nowhere = not files and all(
        met.get(entity) == set() for entity in _ENTITIES if leaving.ids(entity)
    )
    to_do = [] if is_nowhere else [*_prompts_to_make(edits), *_to_do(scenario, leaving, paths)]
    return {
        "dry_run": dry_run,
        "files": files,
        "removed": dict(sorted(removed.items())),
        "still_there": still_there,
        "to_do": to_do,
        "report": None,
    }


_ENTITIES = ("user", "item")


def _say_to_do(result: Mapping[str, Any]) -> None:
    for task in result["to_do"]:
        say(f"to do: {task['what']}: {task['command']}")


_BY_YOURSELF = (
    "remove them by yourself; until then every step of this work_dir passes them over, because "
    f"of {FORGOTTEN_FILE}"
)


_NOT_LOOKED_INTO = f"not looked into: {_BY_YOURSELF}"


def _owned_rows(
    scenario: Scenario, leaving: Leaving
) -> tuple[list[dict[str, Any]], dict[str, set[str]]]:
    """Rows of the owner's tables, and "user" or "item" -> the ids that are there.

    Ids of an entity one of whose tables is not looked into are left out.
    """
    found: list[dict[str, Any]] = []
    met: dict[str, set[str]] = {}
    unread = set()
    for name, (entity, table, column, key) in _owned(scenario).items():
        ids, local = leaving.ids(entity), _local_paths(table)
        if not ids:
            continue
        for file in table.paths:
            if storage.is_url(file):
                unread.add(entity)
                found.append({"what": name, "file": file, "rows": 0, "do": _NOT_LOOKED_INTO})
        if not local:
            continue
        rows: Counter[str] = Counter()
        reader = open_table(
            table.model_copy(update={"path": local}), key, WantedColumns({key: column})
        )
        for block in reader.read():
            there = usable_ids(block, column, entity)[0]
            among = there.filter(pc.is_in(there, value_set=pa.array(sorted(ids))))
            rows[block.file.name] += len(among)
            met.setdefault(entity, set()).update(among.unique().to_pylist())
        for file, count in sorted(rows.items()):
            if count:
                found.append({"what": name, "file": file, "rows": count, "do": _BY_YOURSELF})
    return found, {entity: ids for entity, ids in met.items() if entity not in unread}


def _still_there(
    scenario: Scenario, leaving: Leaving, paths: Sequence[Path]
) -> Iterator[dict[str, Any]]:
    """Files whose formats or places are not looked into."""
    owned = _owned_files(scenario)
    for path in paths:
        if path.is_file() and path.resolve() not in owned and not finds_ids(path):
            yield {
                "what": "--path",
                "file": str(path),
                "rows": 0,
                "do": "not looked into, for it is of a format that is not edited, or names no "
                "column of ids: remove them by yourself",
            }
    for source, described in scenario.knowledge.answers.items():
        others = [
            name
            for name in (*described.individual, *described.collective, described.groups)
            if name is not None and (storage.is_url(name) or editor_of(Path(name)) is None)
        ]
        for name in [*described.vectors, *others] if leaving.ids(described.entity) else ():
            yield {
                "what": f"knowledge.answers.{source}",
                "file": name,
                "rows": 0,
                "do": _NOT_LOOKED_INTO,
            }
    for kind in ("groups", "knowledge", "links"):
        for manifest in sorted(Path(scenario.work_dir, kind).glob("[!.]*/manifest.json")):
            if manifest.parent.name not in scenario.knowledge.answers:
                yield {
                    "what": "a source that the scenario does not describe",
                    "file": str(manifest.parent),
                    "rows": 0,
                    "do": _NOT_LOOKED_INTO,
                }
    for path in _files(scenario, paths):
        for column in odd_id_columns(path) if path.suffix == PARQUET_SUFFIX else ():
            yield {
                "what": f"column '{column}'",
                "file": str(path),
                "rows": 0,
                "do": "not looked into, for it holds neither texts nor whole numbers: remove them "
                "by yourself",
            }


_AGAIN = "--config THE_SAME_SCENARIO.yaml"
_EXAMPLES_ANEW = f"python -m preprocessing examples {_AGAIN} --force"


def _prompts_to_make(edits: _Edits) -> Iterator[dict[str, str]]:
    """Prompts of groups that showed all members, and cannot be edited."""
    for entry in edits.described():
        if prompts_are_missing(entry):
            yield {
                "what": f"prompts of groups in {entry['file']}: they listed them",
                "command": f"python -m preprocessing prompts {_AGAIN}, then generate",
            }


def _encode_anew(source: str) -> str:
    return f"python -m preprocessing encode {_AGAIN} --source {source} --force"


def _commands_of(recomputed: Mapping[str, Any]) -> set[str]:
    """Commands that need not be given after `_recomputed`, whose result this takes."""
    sources = [source for step in recomputed["steps"] for source in step.get("sources", ())]
    return {_EXAMPLES_ANEW, *map(_encode_anew, sources)}


def _to_do(scenario: Scenario, leaving: Leaving, paths: Sequence[Path]) -> Iterator[dict[str, str]]:
    """What was made with them and cannot be edited, with the command that makes it anew."""
    work = Path(scenario.work_dir)
    if leaving.users and StepDirectory(work / "examples").manifest.exists():
        yield {
            "what": "sums over the ratings of all users (items' mean ratings) in examples/",
            "command": _EXAMPLES_ANEW,
        }
    for source, described in scenario.knowledge.answers.items():
        if not StepDirectory(work / "knowledge" / source).manifest.exists():
            continue
        encode = _encode_anew(source)
        if described.collaborative is not None:
            yield {
                "what": f"vectors of '{source}': those of all others were made with their ratings",
                "command": encode,
            }
        elif described.links is not None and leaving.items:
            yield {
                "what": f"vectors of '{source}': those of linked items were made with their links",
                "command": encode,
            }
        elif scenario.knowledge.encoder.kind == "tfidf" and leaving.ids(described.entity):
            yield {"what": f"terms of '{source}': weighed over all texts", "command": encode}
        if described.grouping is not None:
            yield {
                "what": f"groups of '{source}', and answers about them: made with all interactions",
                "command": f"python -m preprocessing group {_AGAIN} --source {source} --force, "
                "then prompts and generate",
            }
    roots = [work, *paths]
    if scenario.run_dir is not None:
        roots.append(Path(scenario.run_dir))
    runs: set[Path] = set()
    models: set[Path] = set()
    for root in roots:
        for directory, _, names in os.walk(root):
            folder = Path(directory)
            if {"config.yaml", "metrics.json", "history.csv"} <= set(names):
                runs.add(folder)
            if _EXPORT in names and folder.name.isdecimal():
                models.add(folder)
    for run in sorted(runs):
        yield {
            "what": f"weights and scores of {run}: trained with them",
            "command": f"python -m trainer train --config {run / 'config.yaml'} run_dir=NEW",
        }
    for model in sorted(models):
        yield {
            "what": f"export {model}: may be served, and holds their rows and weights trained with "
            "them",
            "command": f"python -m serving refresh --model {model.parent} with --forget-user or "
            "--forget-item, or better a new export of a run that was trained anew; then delete "
            "this version here and wherever it was copied to",
        }
    if leaving.users:
        yield {
            "what": "prompts that were sent to an LLM service, and its answers there",
            "command": "ask the service to delete them",
        }


def _recomputed(scenario: Scenario) -> dict[str, Any]:
    """Makes examples, links and vectors anew without those who left."""
    from preprocessing.all_steps import run_all_steps

    return run_all_steps(scenario, force=True)


def read_ids(path: Path) -> Iterable[str]:
    """Ids of a file, one a line; blank lines count for nothing.

    Raises:
      ConfigurationError: there is no such file, or it is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({error})") from error
    return [line.strip() for line in text.split("\n") if line.strip()]
