"""Answer files, record by record: those of any format, and those that a configuration names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from configs.command_line import CommandError, say
from configs.data import Table
from configs.knowledge import SourceAnswers
from preprocessing import storage
from preprocessing.answers.checks import AnswerText, Duplicates, Thresholds, check_text
from preprocessing.answers.formats import (
    AUTO,
    FORMATS,
    Expected,
    LineFormat,
    ObjectFormat,
    detect_format,
    read_json_object,
)
from preprocessing.answers.names import (
    NameCounts,
    count_names,
    has_name_lists,
    name_lists,
    prose_beside_names,
)
from preprocessing.answers.record import (
    Answer,
    Location,
    RejectedAnswer,
    answer_of,
    check_entity_id,
    custom_id,
    json_object,
    numbered_lines,
    other_sources,
    recorded_source,
    refuse_forgotten,
)
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.inputs import input_checksums
from preprocessing.records.contract import COLLECTIVE, INDIVIDUAL
from preprocessing.records.coverage import id_shape
from preprocessing.records.forgotten import Forgotten
from preprocessing.tables.blocks import WantedColumns
from preprocessing.tables.ids import usable_ids
from preprocessing.tables.table_reader import open_table


@dataclass(frozen=True)
class AnswerFile:
    """An answer file of a source, as the configuration names it.

    Attributes:
      order: place in the configuration; the first answer for an entity counts.
      name: how the configuration names it, for people.
      path: absolute path or URL.
      extraction: "individual" or "collective".
      has_both: the file is named under the other extraction, too, and so is read twice.
    """

    order: int
    name: str
    path: str
    extraction: str
    has_both: bool = False


def answer_files(answers: SourceAnswers) -> list[AnswerFile]:
    """The answer files of a source, in their order."""
    named = [(name, INDIVIDUAL) for name in answers.individual]
    named += [(name, COLLECTIVE) for name in answers.collective]
    both = {*answers.individual} & {*answers.collective}
    return [
        AnswerFile(order, name, storage.absolute(name), extraction, name in both)
        for order, (name, extraction) in enumerate(named)
    ]


@dataclass(frozen=True)
class SourceReader:
    """Takes the answers of one source out of its answer files.

    Attributes:
      source: what its records call the source.
      entity: "item" or "user".
      others: what records of other sources, which may be in the same files, call theirs.
      forgotten: those whose answers are rejected.
    """

    source: str
    entity: str
    others: frozenset[str]
    forgotten: Forgotten

    @classmethod
    def of(
        cls, answers: Mapping[str, SourceAnswers], source: str, forgotten: Forgotten
    ) -> SourceReader:
        """A reader of one of the sources that a configuration describes.

        Args:
          answers: `knowledge.answers`.
          source: one of its keys.
          forgotten: those of the work directory.
        """
        recorded = recorded_source(source, answers[source].factor)
        return cls(recorded, answers[source].entity, other_sources(answers, source), forgotten)

    def answer(self, line: bytes, number: int, file: AnswerFile) -> Answer | None:
        """The answer of a line; None where somebody else reads, or rejects, the line.

        Args:
          line: the line.
          number: of the line, from 1.
          file: where it is.

        Raises:
          RejectedAnswer: the line is no usable answer.
        """
        try:
            record = json_object(line)
        except RejectedAnswer:
            if self._is_elsewhere(None, file):
                return None
            raise
        if self._is_elsewhere(record, file):
            return None
        answer = answer_of(record, self.source, file.extraction)
        refuse_forgotten(answer.entity_id, self.entity, self.forgotten, file.extraction)
        return replace(answer, location=Location(file.name, number, file.order))

    def _is_elsewhere(self, record: Mapping[str, object] | None, file: AnswerFile) -> bool:
        """Whether a record is read, or rejected, by someone else.

        Of a file that is read twice, once for each extraction, every line is in charge of one
        reading: what does not say that it is collective is the first one's, even if it says nothing
        at all.

        Args:
          record: the JSON object of a line; None if the line is none.
          file: where it is.
        """
        source = None if record is None else record.get("source")
        if isinstance(source, str) and source in self.others:
            return True
        extraction = None if record is None else record.get("extraction")
        return file.has_both and (extraction == COLLECTIVE) != (file.extraction == COLLECTIVE)


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
        self._sha256 = input_checksums({path: _KEY})[path]
        self._new: dict[str, str] = {}
        self._asked: set[str] = set()
        self._unknown = ""
        lines: dict[str, int] = {}
        for line, old, new in _pairs(path):
            if old in lines:
                raise CommandError(
                    f"{path}: line {line}: its old id stands on line {lines[old]} already; leave "
                    "one of the two lines"
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
        """The answer about the new id; of a collective one, which names a group, the members.

        Raises:
          RejectedAnswer: its id, or that of a member, has no new one.
        """
        if answer.extraction == COLLECTIVE:
            members = answer.members
            return replace(answer, members=members and tuple(map(self.new_id, members)))
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


_MOST_LINES_BEFORE_AN_OBJECT = 10_000


def choose_formats(paths: Sequence[str], name: str) -> list[str]:
    """The format of every file; says which ones `auto` took.

    Raises:
      CommandError: the format of a file cannot be told.
    """
    if name != AUTO:
        return [name] * len(paths)
    names = [detect_format(path) for path in paths]
    for path, detected in zip(paths, names, strict=True):
        say(f"{path}: {detected} ({FORMATS[detected].description})")
    return names


def examine(
    paths: Sequence[str],
    formats: Sequence[str],
    expected: Expected,
    thresholds: Thresholds,
    ids: IdMapping | None = None,
    names: NameCounts | None = None,
) -> Iterator[Answer | DeadLetter]:
    """Reads and checks all records, in the order of the files.

    The first accepted answer for an entity counts: a later, better one takes the place of one that
    failed a check.

    Args:
      paths: the files.
      formats: name of each file's format.
      expected: what the records must say.
      thresholds: when an answer counts as bad.
      ids: new ids of the entities; None keeps those of the files.
      names: counts the names in accepted answers.

    Yields:
      An accepted answer, or why a record is none; an entry of a JSON object counts as a line.

    Raises:
      CommandError: a file cannot be read as its format at all.
    """
    duplicates = Duplicates(allow_equal_texts=thresholds.allow_duplicates)
    names = names if names is not None else NameCounts()
    for path, name in zip(paths, formats, strict=True):
        # Files that name no source may be of several: each stands for itself.
        file_expected = replace(expected, unnamed_source=path)
        for line, outcome in _read(path, name, file_expected):
            if isinstance(outcome, Answer):
                located = replace(outcome, location=Location(path, line))
                outcome = _check(located, thresholds, duplicates, ids, names)
            if isinstance(outcome, RejectedAnswer):
                yield dead_letter(path, line, outcome.reason, outcome.detail)
            else:
                yield outcome


def _check(
    answer: Answer,
    thresholds: Thresholds,
    duplicates: Duplicates,
    ids: IdMapping | None,
    names: NameCounts,
) -> Answer | RejectedAnswer:
    try:
        if ids is not None:
            answer = ids.mapped(answer)
        listed = None
        if thresholds.form == "names" or (thresholds.form == "any" and has_name_lists(answer)):
            listed = name_lists(answer)
        prose = answer.text if listed is None else prose_beside_names(answer)
        text = AnswerText(prose, answer.prompt, answer.finish_reason)
        check_text(text, thresholds)
        # Two items may well go with the same ones.
        duplicates.add(answer, text if text.text else None)
    except RejectedAnswer as rejection:
        return rejection
    if listed is not None:
        names.add(count_names(listed))
    return answer


def _read(
    path: str, name: str, expected: Expected
) -> Iterator[tuple[int, Answer | RejectedAnswer]]:
    form = FORMATS[name]
    if isinstance(form, LineFormat):
        return _read_lines(path, name, form, expected)
    return _read_entries(path, form, expected)


def _read_lines(
    path: str, name: str, form: LineFormat, expected: Expected
) -> Iterator[tuple[int, Answer | RejectedAnswer]]:
    """Records of a file of lines; a file without a single JSON object is none."""
    has_object = False
    failed: list[tuple[int, RejectedAnswer]] = []
    for number, line in numbered_lines(path):
        try:
            document = json_object(line)
        except RejectedAnswer as rejection:
            if has_object:
                yield number, rejection
                continue
            failed.append((number, rejection))
            if len(failed) == _MOST_LINES_BEFORE_AN_OBJECT:
                break
            continue
        has_object = True
        yield from failed
        failed.clear()
        try:
            yield number, form.read(document, expected)
        except RejectedAnswer as rejection:
            yield number, rejection
    if failed:
        number, first = failed[0]
        raise CommandError(
            f"{path}: not a file of format {name}: no line of {len(failed):,} is a JSON object; "
            f"line {number}: {first.detail}"
        )


def _read_entries(
    path: str, form: ObjectFormat, expected: Expected
) -> Iterator[tuple[int, Answer | RejectedAnswer]]:
    for number, (entity_id, value) in enumerate(read_json_object(path), start=1):
        try:
            yield number, form.read(entity_id, value, expected)
        except RejectedAnswer as rejection:
            yield number, rejection
