"""Beam transforms that bring small results together into one file each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import apache_beam as beam

from preprocessing.dead_letters import DeadLetter, write_dead_letters

DEAD_LETTERS = "dead_letters"
"""Tag of the output with lists of dead letters."""

STATISTICS = "statistics"
"""Tag of the output with dictionaries of counts."""


class GatherToFile(beam.PTransform):
    """Writes all elements of several collections into one file, even when there are none.

    Args:
      path: the file.
      write: takes (0, elements) and the path.
      nothing: an element without content.
    """

    def __init__(self, path: Path, write: beam.DoFn, nothing: object):
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
            | beam.ParDo(self._write, str(self._path))
        )


class WriteDeadLetters(beam.DoFn):
    """Writes lists of dead letters as sorted JSON lines."""

    def process(self, element: tuple[int, Iterable[list[DeadLetter]]], path: str) -> Iterator[str]:
        """See `beam.DoFn`."""
        write_dead_letters(Path(path), (letter for batch in element[1] for letter in batch))
        yield path


class WriteStatistics(beam.DoFn):
    """Writes dictionaries as a sorted JSON list."""

    def process(self, element: tuple[int, Iterable[dict]], path: str) -> Iterator[str]:
        """See `beam.DoFn`."""
        dictionaries = sorted(element[1], key=lambda entry: json.dumps(entry, sort_keys=True))
        Path(path).write_text(json.dumps(dictionaries), encoding="utf-8")
        yield path


def gather_dead_letters(path: Path) -> GatherToFile:
    """Writes collections of lists of dead letters into one JSON lines file."""
    return GatherToFile(path, WriteDeadLetters(), [])


def gather_statistics(path: Path) -> GatherToFile:
    """Writes collections of dictionaries into one JSON file."""
    return GatherToFile(path, WriteStatistics(), {})


def total(dictionaries: Iterable[dict], key: str) -> int:
    """Sum of one count over the dictionaries that have it."""
    return sum(dictionary.get(key, 0) for dictionary in dictionaries)
