"""Rejected records, each with its place and reason; any number of them in bounded memory."""

from __future__ import annotations

import heapq
import itertools
import json
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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


_LETTERS_PER_RUN = 1 << 15
_RUNS_PER_MERGE = 64  # as many files are open at the same time


class DeadLetterRuns:
    """Dead letters on their way into one file."""

    def __init__(self, folder: str | Path):
        """Keeps a run's letters in memory until it is full.

        Args:
          folder: path or URL of a folder for runs; it need not exist. Others may use it as well,
            whose runs are not mixed up with these. It is the caller's to delete.
        """
        self._folder = str(folder)
        self._letters: list[DeadLetter] = []
        self._runs: list[str] = []

    def add(self, letters: Iterable[DeadLetter]) -> None:
        """Takes more dead letters, in any order."""
        for letter in letters:
            self._letters.append(letter)
            if len(self._letters) == _LETTERS_PER_RUN:
                self._store()

    def stored(self) -> list[str]:
        """Puts all dead letters on disk and returns their runs."""
        if self._letters:
            self._store()
        return list(self._runs)

    def write(self, path: str | Path) -> None:
        """Writes all dead letters into one file; more may be added afterwards."""
        merge_runs(self.stored(), path, self._folder)

    def _store(self) -> None:
        run = _new_run(self._folder)
        write_dead_letters(run, self._letters)
        self._runs.append(run)
        self._letters = []


def merge_runs(runs: Sequence[str], path: str | Path, folder: str) -> None:
    """Merges runs into one file, the same whatever the order of the runs.

    Args:
      runs: files of sorted dead letters.
      path: path or URL of the file to write.
      folder: for runs made of runs, when there are too many to open all at once.
    """
    waiting = list(runs)
    while len(waiting) > _RUNS_PER_MERGE:
        some, waiting = waiting[:_RUNS_PER_MERGE], waiting[_RUNS_PER_MERGE:]
        waiting.append(_new_run(folder))
        _merge(some, waiting[-1])
    _merge(waiting, str(path))


def _merge(runs: Sequence[str], path: str) -> None:
    with storage.create_bytes(path) as target:
        if len(runs) == 1:
            with storage.open_bytes(runs[0]) as only:
                shutil.copyfileobj(only, target)
            return
        for _, line in heapq.merge(*map(_keyed_lines, runs)):
            target.write(line)


def _keyed_lines(run: str) -> Iterator[tuple[tuple[str, int, str, str], bytes]]:
    with storage.open_bytes(run) as file:
        for line in file:
            yield sort_key(json.loads(line)), line


def _new_run(folder: str) -> str:
    return storage.join(folder, f"{uuid.uuid4().hex}.jsonl")
