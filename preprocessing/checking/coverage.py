"""Which ids of the examples the vocabularies know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preprocessing.records.contract import PARTS
from preprocessing.records.vocabularies import read_vocabulary


@dataclass
class Coverage:
    """Counts values of one feature, in the vocabulary and outside.

    Attributes:
      name: the feature.
      vocabulary: its known values.
    """

    name: str
    vocabulary: frozenset[bytes]
    _values: list[int] = field(default_factory=lambda: [0] * len(PARTS))
    _known: list[int] = field(default_factory=lambda: [0] * len(PARTS))

    def add(self, part: int, values: Sequence[bytes]) -> list[int]:
        """Counts values of a part; returns the places of those that are not known."""
        unknown = [place for place, value in enumerate(values) if value not in self.vocabulary]
        self._values[part] += len(values)
        self._known[part] += len(values) - len(unknown)
        return unknown

    def shares(self) -> dict[str, float]:
        """Part -> share of known values, for parts that have values."""
        return {
            part: round(known / values, 6)
            for part, values, known in zip(PARTS, self._values, self._known, strict=True)
            if values
        }


def read_known_values(path: Path) -> frozenset[bytes]:
    """The values of a vocabulary as records hold them.

    Raises:
      DamagedRecords: the file is missing, cut off, or names a value twice.
    """
    return frozenset(value.encode() for value in read_vocabulary(path))
