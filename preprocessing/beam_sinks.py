"""Beam transforms that bring the results of all workers together into one file each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue
from typing_extensions import override

from preprocessing import storage
from preprocessing.dead_letters import DeadLetter, DeadLetterRuns, merge_runs

DEAD_LETTERS = "dead_letters"
"""Tag of the output with lists of dead letters."""

STATISTICS = "statistics"
"""Tag of the output with dictionaries of counts."""


class GatherToFile(beam.PTransform):
    """Writes all elements of several collections into one file, even when there are none.

    Args:
      path: the file, by a path or URL that all workers see.
      write: takes all elements and the path.
      nothing: an element without content.
    """

    def __init__(
        self, path: str | Path, write: Callable[[Iterable[Any], str], None], nothing: object
    ):
        super().__init__()
        self._path = storage.absolute(path)
        self._write = write
        self._nothing = nothing

    @override
    def expand(self, collections: Sequence[beam.PCollection]) -> beam.PCollection:
        path, write = self._path, self._write
        nothing = collections[0].pipeline | "Nothing" >> beam.Create([self._nothing])

        def written(element: tuple[int, Iterable[Any]]) -> str:
            write(element[1], path)
            return path

        return (
            (*collections, nothing)
            | beam.Flatten()
            | "OneKey" >> beam.Map(lambda element: (0, element))
            | beam.GroupByKey()
            | "Write" >> beam.Map(written)
        )


class SortDeadLetters(beam.DoFn):
    """Lists of dead letters to files of sorted ones.

    Args:
      folder: for the files, a path or URL that all workers see.
    """

    def __init__(self, folder: str):
        super().__init__()
        self._folder = folder

    @override
    def start_bundle(self) -> None:
        self._runs = DeadLetterRuns(self._folder)

    @override
    def process(self, element: list[DeadLetter]) -> None:
        self._runs.add(element)

    @override
    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        for run in self._runs.stored():
            yield WindowedValue(run, window.max_timestamp(), (window,))


class GatherDeadLetters(beam.PTransform):
    """Writes the dead letters of several collections of lists into one sorted JSON lines file.

    However many there are, memory holds a small part of them.

    Args:
      path: the file, by a path or URL that all workers see.
    """

    def __init__(self, path: str | Path):
        super().__init__()
        self._path = path

    @override
    def expand(self, collections: Sequence[beam.PCollection]) -> beam.PCollection:
        folder = f"{storage.absolute(self._path)}.runs"

        def merge(runs: Iterable[str], path: str) -> None:
            merge_runs([run for run in runs if run], path, folder)

        # Sorted before the collections meet: FnApiRunner keeps in memory what is flattened.
        runs = tuple(
            letters | f"SortDeadLetters{number}" >> beam.ParDo(SortDeadLetters(folder))
            for number, letters in enumerate(collections)
        )
        return (
            runs
            | GatherToFile(self._path, merge, "")
            # Runners commit what they reshuffle: no repeated merge looks for the deleted files.
            | "Merged" >> beam.Reshuffle()
            | "DeleteRuns" >> beam.Map(lambda _: storage.delete_folder(folder))
        )


def gather_statistics(path: str | Path) -> GatherToFile:
    """Writes collections of dictionaries into one JSON file, as a sorted list."""
    return GatherToFile(path, _write_statistics, {})


def _write_statistics(dictionaries: Iterable[dict[str, Any]], path: str) -> None:
    ordered = sorted(dictionaries, key=lambda entry: json.dumps(entry, sort_keys=True))
    with storage.create_bytes(path) as file:
        file.write(json.dumps(ordered).encode())


def read_statistics(path: str | Path) -> list[dict[str, Any]]:
    """Reads what `gather_statistics` wrote."""
    with storage.open_bytes(str(path)) as file:
        return json.load(file)


def total(dictionaries: Iterable[Mapping[str, Any]], key: str) -> int:
    """Sum of one count over the dictionaries that have it."""
    return sum(dictionary.get(key, 0) for dictionary in dictionaries)
