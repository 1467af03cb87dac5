"""Beam transforms that bring small results together into one file each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam

from preprocessing import storage
from preprocessing.dead_letters import DeadLetter, write_dead_letters

DEAD_LETTERS = "dead_letters"
"""Tag of the output with lists of dead letters."""

STATISTICS = "statistics"
"""Tag of the output with dictionaries of counts."""


class GatherToFile(beam.PTransform):
    """Writes all elements of several collections into one file, even when there are none.

    Args:
      path: the file, by a path or URL that all workers see.
      write: takes (0, elements) and the path.
      nothing: an element without content.
    """

    def __init__(self, path: str | Path, write: beam.DoFn, nothing: object):
        super().__init__()
        self._path = path
        self._write = write
        self._nothing = nothing

    def expand(self, collections: Sequence[beam.PCollection]) -> beam.PCollection:
        """See `beam.PTransform`."""
        nothing = collections[0].pipeline | "Nothing" >> beam.Create([self._nothing])
        return (
            (*collections, nothing)
            | beam.Flatten()
            | "OneKey" >> beam.Map(lambda element: (0, element))
            | beam.GroupByKey()
            | beam.ParDo(self._write, storage.absolute(self._path))
        )


class WriteDeadLetters(beam.DoFn):
    """Writes lists of dead letters as sorted JSON lines."""

    def process(self, element: tuple[int, Iterable[list[DeadLetter]]], path: str) -> Iterator[str]:
        """See `beam.DoFn`."""
        write_dead_letters(path, (letter for batch in element[1] for letter in batch))
        yield path


class WriteStatistics(beam.DoFn):
    """Writes dictionaries as a sorted JSON list."""

    def process(self, element: tuple[int, Iterable[dict]], path: str) -> Iterator[str]:
        """See `beam.DoFn`."""
        dictionaries = sorted(element[1], key=lambda entry: json.dumps(entry, sort_keys=True))
        with storage.create_bytes(path) as file:
            file.write(json.dumps(dictionaries).encode())
        yield path


def gather_dead_letters(path: str | Path) -> GatherToFile:
    """Writes collections of lists of dead letters into one JSON lines file."""
    return GatherToFile(path, WriteDeadLetters(), [])


def gather_statistics(path: str | Path) -> GatherToFile:
    """Writes collections of dictionaries into one JSON file."""
    return GatherToFile(path, WriteStatistics(), {})


def read_statistics(path: str | Path) -> list[dict[str, Any]]:
    """Reads what `gather_statistics` wrote."""
    with storage.open_bytes(str(path)) as file:
        return json.load(file)


def total(dictionaries: Iterable[Mapping[str, Any]], key: str) -> int:
    """Sum of one count over the dictionaries that have it."""
    return sum(dictionary.get(key, 0) for dictionary in dictionaries)
