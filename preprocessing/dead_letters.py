"""Rejected records: each with its file, its line, a reason and a detail for people."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypedDict

from preprocessing import storage

_DETAIL_CHARACTERS = 120
_LETTERS_PER_BATCH = 4096


class DeadLetter(TypedDict):
    """One rejected record.

    Attributes:
      file: the input file, as the configuration names it.
      line: line number, counted from 1; in a file that is one JSON object, number of the entry.
      reason: a fixed name that can be counted, e.g. "missing_item_id".
      detail: what was found, without user ids.
    """

    file: str
    line: int
    reason: str
    detail: str


def dead_letter(file: str, line: int, reason: str, detail: str) -> DeadLetter:
    """A dead letter with a detail of bounded length."""
    if len(detail) > _DETAIL_CHARACTERS:
        detail = detail[:_DETAIL_CHARACTERS] + "..."
    return DeadLetter(file=file, line=int(line), reason=reason, detail=detail)


def sort_key(letter: DeadLetter) -> tuple[str, int, str, str]:
    """Place of a dead letter in a file: equal letters are the only ones without an order."""
    return letter["file"], letter["line"], letter["reason"], letter["detail"]


def write_dead_letters(path: str | Path, letters: Iterable[DeadLetter]) -> None:
    """Writes JSON lines, sorted by file and line; see `DeadLetterRuns` for very many."""
    with storage.create_bytes(str(path)) as file:
        for letter in sorted(letters, key=sort_key):
            file.write(json.dumps(letter).encode() + b"\n")


def read_dead_letters(path: str | Path) -> Iterator[DeadLetter]:
    """Reads what `write_dead_letters` wrote."""
    with storage.open_bytes(str(path)) as file:
        for line in file:
            yield json.loads(line)


def read_dead_letter_batches(path: str | Path) -> Iterator[list[DeadLetter]]:
    """Reads the same in lists of bounded length."""
    letters = read_dead_letters(path)
    while batch := list(itertools.islice(letters, _LETTERS_PER_BATCH)):
        yield batch


def count_by_reason(path: str | Path) -> dict[str, dict[str, int]]:
    """Counts the dead letters of a file: input file -> reason -> number."""
    counts: dict[str, Counter[str]] = {}
    for letter in read_dead_letters(path):
        counts.setdefault(letter["file"], Counter())[letter["reason"]] += 1
    return {file: dict(sorted(reasons.items())) for file, reasons in sorted(counts.items())}
