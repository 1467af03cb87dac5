"""Answer files of any format, record by record: read, checked, accepted or rejected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from configs.command_line import CommandError, say
from preprocessing.importing.detection import detect_format
from preprocessing.importing.foreign_record import Expected, ForeignRecord
from preprocessing.importing.formats import AUTO, FORMATS, LineFormat, ObjectFormat
from preprocessing.importing.id_mapping import IdMapping
from preprocessing.importing.whole_json import read_json_object
from preprocessing.knowledge.answers import (
    Answer,
    RejectedAnswer,
    json_object,
    numbered_lines,
)
from preprocessing.quality.checks import check_text
from preprocessing.quality.duplicates import Duplicates, Place
from preprocessing.quality.text import AnswerText
from preprocessing.quality.thresholds import Thresholds

_MOST_LINES_BEFORE_AN_OBJECT = 10_000


@dataclass(frozen=True)
class Examined:
    """What became of one record.

    Attributes:
      place: where it is; an entry of a JSON object counts as a line.
      outcome: the accepted answer, or why there is none.
    """

    place: Place
    outcome: Answer | RejectedAnswer


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
) -> Iterator[Examined]:
    """Reads and checks all records, in the order of the files.

    The first accepted answer for an entity counts: a later, better one takes the place of one that
    failed a check.

    Args:
      paths: the files.
      formats: name of each file's format.
      expected: what the records must say.
      thresholds: when an answer counts as bad.
      ids: new ids of the entities; None keeps those of the files.

    Raises:
      CommandError: a file cannot be read as its format at all.
    """
    duplicates = Duplicates(allow_equal_texts=thresholds.allow_duplicates)
    for path, name in zip(paths, formats, strict=True):
        # Files that name no source may be of several: each stands for itself.
        of_file = replace(expected, unnamed_source=path)
        for line, record in _read(path, name, of_file):
            place = Place(path, line)
            if isinstance(record, RejectedAnswer):
                yield Examined(place, record)
            else:
                yield Examined(place, _check(record, place, thresholds, duplicates, ids))


def _check(
    record: ForeignRecord,
    place: Place,
    thresholds: Thresholds,
    duplicates: Duplicates,
    ids: IdMapping | None,
) -> Answer | RejectedAnswer:
    answer = record.answer
    text = AnswerText(answer.text, answer.prompt, record.finish_reason)
    try:
        if ids is not None:
            answer = ids.mapped(answer)
        check_text(text, thresholds)
        duplicates.add(answer, text, place)
    except RejectedAnswer as rejection:
        return rejection
    return answer


def _read(
    path: str, name: str, expected: Expected
) -> Iterator[tuple[int, ForeignRecord | RejectedAnswer]]:
    form = FORMATS[name]
    if isinstance(form, LineFormat):
        return _read_lines(path, name, form, expected)
    return _read_entries(path, form, expected)


def _read_lines(
    path: str, name: str, form: LineFormat, expected: Expected
) -> Iterator[tuple[int, ForeignRecord | RejectedAnswer]]:
    """Records of a file of lines; a file without a single JSON object is none."""
    found = False
    failed: list[tuple[int, RejectedAnswer]] = []
    for number, line in numbered_lines(path):
        try:
            document = json_object(line)
        except RejectedAnswer as rejection:
            if found:
                yield number, rejection
                continue
            failed.append((number, rejection))
            if len(failed) == _MOST_LINES_BEFORE_AN_OBJECT:
                break
            continue
        found = True
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
) -> Iterator[tuple[int, ForeignRecord | RejectedAnswer]]:
    for number, (entity_id, value) in enumerate(read_json_object(path), start=1):
        try:
            yield number, form.read(entity_id, value, expected)
        except RejectedAnswer as rejection:
            yield number, rejection
