"""Any number of dead letters, sorted in bounded memory: sorted runs on disk, which are then merged.

A run is a file as `write_dead_letters` writes it. Dead letters of several processes meet in this
way too: each process writes runs into one folder that all of them see.
"""

from __future__ import annotations

import heapq
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from preprocessing import storage
from preprocessing.dead_letters import DeadLetter, sort_key, write_dead_letters

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
