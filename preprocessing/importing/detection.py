"""Which format a file has, judged by its content."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from configs.command_line import CommandError
from preprocessing.importing.formats import FORMATS, Document, LineFormat, ObjectFormat
from preprocessing.importing.whole_json import read_json_object
from preprocessing.knowledge.answers import RejectedAnswer, json_object, numbered_lines

_SAMPLE_LINES = 20


def detect_format(path: str) -> str:
    """Name of a file's format.

    The first lines decide; a file whose lines are no JSON objects, or whose only line is one, is
    looked at as a whole.

    Raises:
      CommandError: it is empty, in none of the formats, or looks like several.
    """
    if next(numbered_lines(path), None) is None:
        raise CommandError(f"{path}: the file is empty")
    sample = list(itertools.islice(_json_lines(path), _SAMPLE_LINES))
    names = {name for document in sample for name in _line_formats(document)}
    if not names and len(sample) < 2:
        names = set(_object_formats(dict(read_json_object(path))))
    if len(names) == 1:
        return names.pop()
    choices = ", ".join(sorted(names or FORMATS))
    found = f"looks like several formats ({choices})" if names else "has no format known here"
    raise CommandError(f"{path}: {found}; say which it is with --format: {choices}")


def _json_lines(path: str) -> Iterator[Document]:
    for _, line in numbered_lines(path):
        try:
            yield json_object(line)
        except RejectedAnswer:
            continue


def _line_formats(document: Document) -> list[str]:
    return [
        name
        for name, form in FORMATS.items()
        if isinstance(form, LineFormat) and form.recognises(document)
    ]


def _object_formats(document: Document) -> list[str]:
    return [
        name
        for name, form in FORMATS.items()
        if isinstance(form, ObjectFormat) and form.recognises(document)
    ]
