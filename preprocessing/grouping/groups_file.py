"""The groups file: which group each entity belongs to, read and imported."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from configs.command_line import CommandError, RejectedInput, say
from configs.data import Table
from configs.loading import ConfigurationError
from preprocessing.answers.formats import Pairs, read_json_object
from preprocessing.answers.importing import written_whole
from preprocessing.answers.reading import IdMapping
from preprocessing.answers.record import RejectedAnswer, check_entity_id, meaning_of, whole_text
from preprocessing.dead_letters import DeadLetter, dead_letter, write_dead_letters
from preprocessing.inputs import input_checksums
from preprocessing.records.contract import GROUP_ID
from preprocessing.tables.blocks import ParsedBlock, WantedColumns
from preprocessing.tables.ids import usable_ids
from preprocessing.tables.table_reader import TableReader, open_table


@dataclass(frozen=True, order=True)
class Membership:
    """One line of the groups file.

    Attributes:
      entity_id: item or user id.
      line: line number.
      group_id: its group.
    """

    entity_id: str
    line: int
    group_id: str


def entity_column(entity: str) -> str:
    """Column with the entity ids: item_id or user_id."""
    return f"{entity}_id"


def open_groups(path: str, entity: str, key: str) -> TableReader:
    """Finds a groups file, CSV with a header or Parquet, and checks its columns.

    Args:
      path: the file.
      entity: "item" or "user".
      key: configuration key that names the file.

    Raises:
      ConfigurationError: see `open_table`; or the path means several files.
    """
    wanted = {f"{key} ({column})": column for column in (entity_column(entity), GROUP_ID)}
    try:
        reader = open_table(Table(path=path), key, WantedColumns(wanted))
    except ConfigurationError as error:
        if not path.removesuffix(".gz").endswith(".json"):
            raise
        raise ConfigurationError(
            f"{error}. If it is a JSON object of ids and their groups, make a groups file of it: "
            f"python -m preprocessing import --groups {path} --entity {entity} --out DIR"
        ) from error
    if len(reader.files) > 1:
        raise ConfigurationError(
            f"{key}: '{path}' means {len(reader.files)} files; the groups of a source are one file"
        )
    return reader


def parse_memberships(block: ParsedBlock, entity: str) -> tuple[list[Membership], list[DeadLetter]]:
    """Parses records of a groups file.

    Returns:
      Memberships, and dead letters, those of the block included: the two add up to the block's
      records.
    """
    column = entity_column(entity)
    entities, usable, entity_letters = usable_ids(block, column, column)
    groups, usable, group_letters = usable_ids(block, GROUP_ID, GROUP_ID, usable)
    kept = pa.array(usable)
    rows = zip(
        entities.filter(kept).to_pylist(),
        block.lines[usable].tolist(),
        groups.filter(kept).to_pylist(),
        strict=True,
    )
    letters = block.dead_letters + entity_letters + group_letters
    return [Membership(*row) for row in rows], letters


def group_of_entity(
    memberships: Iterable[Membership], path: str
) -> tuple[dict[str, str], list[DeadLetter]]:
    """Entity id -> group id; the first line of an entity counts, later ones become dead letters."""
    groups: dict[str, Membership] = {}
    dead_letters: list[DeadLetter] = []
    for membership in sorted(memberships):
        first = groups.setdefault(membership.entity_id, membership)
        if first is not membership:
            detail = f"same entity as line {first.line}"
            dead_letters.append(dead_letter(path, membership.line, "duplicate_entity", detail))
    return {entity_id: first.group_id for entity_id, first in groups.items()}, dead_letters


_GROUPS = "groups.csv"
_DEAD_LETTERS = "groups_dead_letters.jsonl"
_SUMMARY = "groups_summary.json"


def import_groups(
    path: str,
    entity: str,
    out: str | Path,
    *,
    place: int | None = None,
    ids: str | None = None,
    strict: bool = False,
) -> dict[str, Any]:
    """Writes `groups.csv`, dead letters and a summary into a folder.

    Args:
      path: a JSON object, entity id -> group id, or -> list of group ids; `.gz` or not.
      entity: what the ids are, "item" or "user".
      out: the folder.
      place: which group id of each list, counted from 1; None where there are no lists.
      ids: file of old and new ids of the entities, see `IdMapping`; None keeps those of the file.
      strict: raise RejectedInput when entries were rejected.

    Returns:
      The summary: read = accepted + rejected.

    Raises:
      ConfigurationError: the file does not exist, or `place` does not fit it.
      CommandError: the file is no JSON object, or has no usable entry, or the file of ids has an
        id twice; nothing is written.
      RejectedInput: entries were rejected and `strict` was given; everything is written.
    """
    (checksum,) = input_checksums({path: "--groups"}).values()
    mapping = None if ids is None else IdMapping(ids)
    entries = read_json_object(path)
    _check_place(path, entries, place)
    rows: list[tuple[str, str]] = []
    letters: list[DeadLetter] = []
    for number, outcome in _memberships(entries, place, mapping):
        if isinstance(outcome, RejectedAnswer):
            letters.append(dead_letter(path, number, outcome.reason, outcome.detail))
        else:
            rows.append(outcome)
    if mapping is not None:
        mapping.require_met()
    reasons = Counter(letter["reason"] for letter in letters)
    if not rows:
        counts = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
        raise CommandError(f"{path}: no entry gives an id its group ({counts or 'no entries'})")
    folder = Path(out)
    result = {
        "read": len(entries),
        "accepted": len(rows),
        "rejected": len(letters),
        "rejected_by_reason": dict(sorted(reasons.items())),
        "entity": entity,
        "place": place,
        "group_ids": len({group for _, group in rows}),
        "file": path,
        "sha256": checksum,
        "groups": str(folder / _GROUPS),
        "dead_letters": str(folder / _DEAD_LETTERS),
    }
    if mapping is not None:
        result["ids"] = mapping.summary()
    with written_whole(folder, [_GROUPS, _DEAD_LETTERS, _SUMMARY]) as hidden:
        with (hidden / _GROUPS).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([entity_column(entity), GROUP_ID])
            writer.writerows(rows)
        write_dead_letters(hidden / _DEAD_LETTERS, letters)
        text = json.dumps(result, indent=2, allow_nan=False) + "\n"
        (hidden / _SUMMARY).write_text(text, encoding="utf-8")
    say(
        f"{result['read']:,} entries read, {len(rows):,} {entity}s in {result['group_ids']:,} "
        f"groups, {len(letters):,} rejected"
    )
    for reason, count in reasons.most_common():
        say(f"  {count:>8,}  {reason}: {meaning_of(reason)}")
    say(f"groups: {result['groups']}")
    if letters:
        say(f"rejected entries: {result['dead_letters']}")
        if strict:
            raise RejectedInput(f"some entries were rejected; see {result['dead_letters']}", result)
    return result


def _check_place(path: str, entries: Pairs, place: int | None) -> None:
    """Holds `--place` against the first entry.

    Raises:
      ConfigurationError: there is a list and no place, or the other way round.
    """
    if not entries:
        return
    entity_id, value = entries[0]
    if isinstance(value, list) and place is None:
        raise ConfigurationError(
            f"{path}: '{entity_id}' has a list of {len(value)} groups; say with --place which of "
            f"them to take, 1 to {len(value)}"
        )
    if place is not None and not isinstance(value, list):
        raise ConfigurationError(
            f"{path}: --place chooses from lists of groups, but '{entity_id}' has a single one; "
            "leave --place out"
        )
    if place is not None and isinstance(value, list) and not 1 <= place <= len(value):
        raise ConfigurationError(
            f"{path}: --place {place}, but '{entity_id}' has a list of {len(value)} groups; say 1 "
            f"to {len(value)}"
        )


def _memberships(
    entries: Pairs, place: int | None, ids: IdMapping | None
) -> Iterator[tuple[int, tuple[str, str] | RejectedAnswer]]:
    """Number of each entry, counted from 1, with entity and group id or why there are none."""
    firsts: dict[str, int] = {}
    for number, (entity_id, value) in enumerate(entries, start=1):
        try:
            _check_id(entity_id, "the id")
            if ids is not None:
                entity_id = ids.new_id(entity_id)
            group_id = _group_id(value, place)
            first = firsts.setdefault(entity_id, number)
            if first != number:
                raise RejectedAnswer("duplicate_entity", f"same id as entry {first}")
        except RejectedAnswer as rejection:
            yield number, rejection
        else:
            yield number, (entity_id, group_id)


def _group_id(value: object, place: int | None) -> str:
    """The group id of one entry.

    Raises:
      RejectedAnswer: it is none.
    """
    if place is not None:
        if not isinstance(value, list):
            raise RejectedAnswer("wrong_type", "not a list of groups as the first entry has")
        if len(value) < place:
            raise RejectedAnswer("missing_field", f"the list has {len(value)} groups only")
        value = value[place - 1]
    if value is None:
        raise RejectedAnswer("missing_field", "the group is null")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise RejectedAnswer("wrong_type", "a group id is a text or a whole number")
    _check_id(value, "the group id")
    return value


def _check_id(text: str, name: str) -> None:
    """Raises RejectedAnswer when an id cannot be one."""
    if not text.strip():
        raise RejectedAnswer("blank_field", f"{name} is empty")
    check_entity_id(whole_text(text, name))
