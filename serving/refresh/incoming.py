"""What arrives: answers and vectors record by record, until each is accepted or rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

REASONS: Mapping[str, str] = {
    "unknown_source": "the model reads no source of this name",
    "unknown_group": "a collective answer about a group that no answer of the model is of",
    "vectors_only": "the source's vectors were made elsewhere: bring vectors, not answers",
}
"""Reasons of a refresh alone; all others are those of `preprocessing import` and `encode`."""


@dataclass(frozen=True, order=True)
class RecordPlace:
    """Where a record is.

    Attributes:
      file: the file, as the command line names it.
      line: number of its line, entry or record, from 1.
    """

    file: str
    line: int


@dataclass(frozen=True)
class Entry:
    """What a record says about one source.

    Attributes:
      place: the record.
      source: a source of the model.
      collective: whether it is about a group.
      entity_id: raw id of an item, user or group.
      text: to be encoded; None where there is a vector.
      vector: made elsewhere; None where there is a text.
    """

    place: RecordPlace
    source: str
    collective: bool
    entity_id: str
    text: str | None = None
    vector: np.ndarray | None = None


@dataclass
class Records:
    """All records of a refresh.

    A record is accepted when at least one source of the model can use it.

    Attributes:
      places: every record read.
      entries: what the sound ones say, in the order of the records.
      rejections: record -> reason and detail, the first one found.
    """

    places: list[RecordPlace] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    rejections: dict[RecordPlace, tuple[str, str]] = field(default_factory=dict)

    def reject(self, place: RecordPlace, reason: str, detail: str) -> None:
        """Notes why a record, or one of its entries, is of no use."""
        self.rejections.setdefault(place, (reason, detail))

    def summary(self, used: Sequence[Entry]) -> dict[str, Any]:
        """Counts that add up: read = accepted + rejected.

        Args:
          used: entries that became knowledge.
        """
        rejected = self.rejected(used)
        reasons = Counter(reason for reason, _ in rejected.values())
        return {
            "read": len(self.places),
            "accepted": len(self.places) - len(rejected),
            "rejected": len(rejected),
            "rejected_by_reason": dict(sorted(reasons.items())),
        }

    def rejected(self, used: Sequence[Entry]) -> dict[RecordPlace, tuple[str, str]]:
        """The records that no used entry is from, with reason and detail."""
        accepted = {entry.place for entry in used}
        return {place: self.rejections[place] for place in self.places if place not in accepted}
