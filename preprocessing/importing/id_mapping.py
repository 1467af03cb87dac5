"""`import --ids`: answers that name their entities by other ids than the log does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from configs.command_line import CommandError
from configs.raw_data import Table
from preprocessing.importing.whole_json import read_json_object
from preprocessing.inputs import fingerprint_inputs
from preprocessing.interactions.entity_ids import usable_ids
from preprocessing.knowledge.answers import Answer, RejectedAnswer, check_entity_id
from preprocessing.knowledge.custom_ids import custom_id
from preprocessing.records.contract import COLLECTIVE
from preprocessing.records.coverage import id_shape
from preprocessing.tables.table_reader import open_table
from preprocessing.tables.wanted_columns import WantedColumns

OLD, NEW = "old", "new"
_KEY = "--ids"


class IdMapping:
    """Old id -> new id, and which of them were asked for.

    Several old ids may have one new id; of their answers the first one that is accepted counts.
    """

    def __init__(self, path: str):
        """Reads a table with the columns `old` and `new`, or a JSON object old -> new.

        Args:
          path: CSV, TSV, Parquet or JSON lines, or `.json` with one object.

        Raises:
          ConfigurationError: the file does not exist or lacks a column.
          CommandError: an old id stands there twice, a row has no id, or the file is damaged.
        """
        self._path = path
        self._sha256 = fingerprint_inputs({path: _KEY})[path]
        self._new: dict[str, str] = {}
        self._asked: set[str] = set()
        self._unknown = ""
        lines: dict[str, int] = {}
        for line, old, new in _pairs(path):
            if old in lines:
                raise CommandError(
                    f"{path}: line {line}: the old id '{old}' stands on line {lines[old]} already; "
                    "leave one of the two lines"
                )
            try:
                check_entity_id(new)
            except RejectedAnswer as error:
                raise CommandError(f"{path}: line {line}: the new id: {error.detail}") from error
            lines[old] = line
            self._new[old] = new
        if not self._new:
            raise CommandError(f"{path}: maps no id; write rows of an old and a new id")

    def new_id(self, old: str) -> str:
        """The new id of an old one.

        Raises:
          RejectedAnswer: there is none.
        """
        new = self._new.get(old)
        if new is None:
            self._unknown = self._unknown or old
            raise RejectedAnswer("unknown_id", f"the id is no '{OLD}' id of {self._path}")
        self._asked.add(old)
        return new

    def mapped(self, answer: Answer) -> Answer:
        """The answer about the new id; a collective one, which names a group, as it is.

        Raises:
          RejectedAnswer: its id has no new one.
        """
        if answer.extraction == COLLECTIVE:
            return answer
        new = self.new_id(answer.entity_id)
        named_by_id = answer.given_custom_id == custom_id(
            answer.source, answer.extraction, answer.entity_id
        )
        given = None if named_by_id else answer.given_custom_id
        return replace(answer, entity_id=new, given_custom_id=given)

    def require_met(self) -> None:
        """Refuses a mapping that belongs to other ids.

        Raises:
          CommandError: ids were asked for, and none of them is an old one.
        """
        if self._unknown and not self._asked:
            raise CommandError(
                f"{self._path}: none of the ids is an '{OLD}' id there: they look like "
                f"'{id_shape(self._unknown)}', those of the column '{OLD}' like "
                f"'{id_shape(next(iter(self._new)))}' (9 stands for a digit, a for a letter); are "
                "the columns swapped?"
            )

    def summary(self) -> dict[str, Any]:
        """File, checksum, and how many of its ids were met."""
        return {
            "file": self._path,
            "sha256": self._sha256,
            "ids": len(self._new),
            "ids_met": len(self._asked),
        }


def _pairs(path: str) -> Iterator[tuple[int, str, str]]:
    """Line (of a JSON object: entry), old and new id.

    Raises:
      CommandError: a row is rejected, or its id is empty.
    """
    if path.removesuffix(".gz").endswith(".json"):
        for number, (old, new) in enumerate(read_json_object(path), start=1):
            if isinstance(new, int) and not isinstance(new, bool):
                new = str(new)
            if not isinstance(new, str) or not old.strip() or not new.strip():
                raise CommandError(f"{path}: entry {number}: an id must be a text or whole number")
            yield number, old, new
        return
    wanted = WantedColumns({f"{_KEY} ({column})": column for column in (OLD, NEW)})
    reader = open_table(Table(path=path), _KEY, wanted)
    for block in reader.read():
        old, usable, old_letters = usable_ids(block, OLD, f"{OLD}_id")
        new, _, new_letters = usable_ids(block, NEW, f"{NEW}_id", usable)
        for letter in (*block.dead_letters, *old_letters, *new_letters):
            raise CommandError(
                f"{path}: line {letter['line']}: {letter['reason']}: {letter['detail']}"
            )
        yield from zip(block.lines.tolist(), old.to_pylist(), new.to_pylist(), strict=True)
