"""Both labels occur in every part: a part with one class can be neither learnt nor measured."""

from __future__ import annotations

from collections.abc import Iterable

from preprocessing.checking.findings import Findings
from preprocessing.examples_parts import LOOK_AT_LABELS, LOOK_AT_SPLIT


class PartClasses:
    """Counts the labels of one part of one kind of examples."""

    def __init__(self) -> None:
        self._labels = 0
        self._positives = 0

    def add(self, labels: Iterable[float]) -> None:
        """Counts the labels of one example; none for a kind without labels."""
        for label in labels:
            self._labels += 1
            self._positives += label == 1

    def check(self, records: int, expected: int | None, name: str, findings: Findings) -> None:
        """Warns when the part is empty or has one class.

        Args:
          records: records of the part that were read.
          expected: records that the manifest counts; None if it does not say. Records that are
            missing are damage, which other checks report.
          name: what findings call the part.
          findings: where they go.
        """
        if not records and not expected:
            findings.warning("empty_part", name, "the part has no examples", fix=LOOK_AT_SPLIT)
        elif self._labels and self._positives in (0, self._labels):
            label = int(self._positives > 0)
            message = f"all {self._labels:,} labels of the part are {label}"
            findings.warning("one_class", name, message, fix=LOOK_AT_LABELS)
